#include "io/safetensors_corpus.h"

#include <cstdint>

namespace lora::io::corpus {

namespace {

std::string repeated(std::string_view piece, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += piece;
  }
  return text;
}

/// `length` zero bytes of data after a header with one tensor.
std::string with_data(const std::string& header, size_t length) {
  return file_of(header, std::string(length, '\0'));
}

std::vector<Case> broken_frames() {
  const std::string good = one("F32", "[1]", "[0,4]");
  return {
      {"empty file", ""},
      {"one byte", "\x01"},
      {"seven bytes", std::string(7, '\0')},
      {"N = 0", file_of("", "", 0)},
      {"N = 0 with data", file_of("{}", "", 0)},
      {"N = 1", file_of("{", "", 1)},
      {"N = 2^63", file_of("{}", "", INT64_MIN)},
      {"N = 2^63 - 1", file_of("{}", "", INT64_MAX)},
      {"N = 2^64 - 1", std::string(8, '\xff') + "{}"},
      {"N = 2^64 - 8", std::string("\xf8") + std::string(7, '\xff') + "{}"},
      {"N = 100,000,001", file_of("{}", "", 100'000'001)},
      {"N above the file", file_of("{}", "", 3)},
      {"N of the whole file", file_of("{}", "", 10)},
      {"only N", file_of("", "", 2)},
      {"big-endian N", std::string(7, '\0') + "\x02{}"},
      {"N cuts the header", file_of(good, std::string(4, '\0'), static_cast<int64_t>(good.size()) - 1)},
      {"N swallows data", file_of(good, std::string(4, '\0'), static_cast<int64_t>(good.size()) + 2)},
      {"header starts with a space", file_of(" {}")},
      {"header starts with a line", file_of("\n{}")},
      {"header with a byte-order mark", file_of("\xef\xbb\xbf{}")},
      {"header is an array", file_of("[]")},
      {"header is null", file_of("null")},
      {"header is a string", file_of("\"{}\"")},
      {"header is a ZIP", file_of("PK\x03\x04")},
      {"a git-lfs pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"},
      {"an HTML page", "<!DOCTYPE html><html></html>"},
      {"a pickle", std::string("\x80\x02}q\0X\0\0\0", 8) + "abc"},
      {"header not closed", file_of("{\"a\":")},
      {"header followed by text", file_of("{}x")},
      {"header with a second value", file_of("{}{}")},
      {"header padded with NUL", file_of(std::string("{}\0\0", 4))},
      {"header with a NUL and more", file_of(std::string("{}\0{}", 5))},
      {"header with a comment", file_of("{/**/}")},
      {"header with a comma at the end", file_of("{\"__metadata__\":{},}")},
      {"invalid UTF-8 in a name", file_of("{\"\xff\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}")},
      {"overlong UTF-8 in a name", file_of("{\"\xc0\xaf\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}")},
      {"lone surrogate in a name", file_of("{\"\\ud800\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}")},
      {"control character in a name", file_of("{\"a\nb\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}")},
      {"deep arrays", file_of("{\"a\":" + std::string(1'000'000, '['))},
      {"deep objects", file_of(repeated("{\"a\":", 300'000))},
      {"deep metadata", file_of("{\"__metadata__\":" + repeated("{\"a\":", 200) + "1" + std::string(201, '}'))},
      {"number overflow", file_of(one("F32", "[1e400]", "[0,4]"))},
  };
}

std::vector<Case> broken_entries() {
  return {
      {"entry is null", file_of("{\"a\":null}")},
      {"entry is a string", file_of("{\"a\":\"x\"}")},
      {"entry is an array", file_of("{\"a\":[\"F32\",[0],[0,0]]}")},
      {"entry is empty", file_of("{\"a\":{}}")},
      {"no dtype", file_of("{\"a\":{\"shape\":[0],\"data_offsets\":[0,0]}}")},
      {"no shape", file_of("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,0]}}")},
      {"no offsets", file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[0]}}")},
      {"dtype is a number", file_of("{\"a\":{\"dtype\":32,\"shape\":[0],\"data_offsets\":[0,0]}}")},
      {"shape is a number", with_data(one("F32", "1", "[0,4]"), 4)},
      {"shape is null", with_data(one("F32", "null", "[0,4]"), 4)},
      {"shape holds a string", with_data(one("F32", "[\"1\"]", "[0,4]"), 4)},
      {"shape holds a float", with_data(one("F32", "[1.0]", "[0,4]"), 4)},
      {"shape holds true", with_data(one("F32", "[true]", "[0,4]"), 4)},
      {"negative size", with_data(one("F32", "[-1]", "[0,4]"), 4)},
      {"minus zero", file_of(one("F32", "[-0]", "[0,0]"))},
      {"two negative sizes", with_data(one("F32", "[-1,-1]", "[0,4]"), 4)},
      {"size 2^63", file_of(one("U8", "[9223372036854775808]", "[0,0]"))},
      {"size 2^64", file_of(one("U8", "[18446744073709551616]", "[0,0]"))},
      {"product overflows to 0", file_of(one("U8", "[4294967296,4294967296]", "[0,0]"))},
      {"product overflows to 4", with_data(one("U8", "[4398046511105,4194304]", "[0,4194304]"), 4)},
      {"bytes overflow", file_of(one("F64", "[2305843009213693952]", "[0,0]"))},
      {"overflow next to a zero", file_of(one("F32", "[0,4611686018427387904,4]", "[0,0]"))},
      {"overflow of an unknown dtype", file_of(one("X9", "[4294967296,4294967296]", "[0,0]"))},
      {"offsets are an object", file_of(one("F32", "[0]", "{}"))},
      {"one offset", file_of(one("F32", "[0]", "[0]"))},
      {"three offsets", file_of(one("F32", "[0]", "[0,0,0]"))},
      {"offset is a string", file_of(one("F32", "[0]", "[\"0\",0]"))},
      {"offset is a float", with_data(one("F32", "[1]", "[0,4.0]"), 4)},
      {"negative begin", with_data(one("F32", "[1]", "[-4,0]"), 4)},
      {"end before begin", with_data(one("F32", "[1]", "[4,0]"), 4)},
      {"end at 2^64 - 1", with_data(one("F32", "[1]", "[0,18446744073709551615]"), 4)},
      {"end at 2^63 - 1", with_data(one("U8", "[9223372036854775807]", "[0,9223372036854775807]"), 4)},
      {"too few bytes for the shape", with_data(one("F32", "[2]", "[0,4]"), 4)},
      {"too many bytes for the shape", with_data(one("F32", "[1]", "[0,8]"), 8)},
      {"bytes of a wider dtype", with_data(one("BF16", "[2]", "[0,8]"), 8)},
      {"bytes for an empty tensor", with_data(one("F32", "[0]", "[0,4]"), 4)},
      {"no bytes for a scalar", file_of(one("F32", "[]", "[0,0]"))},
      {"same tensor twice", with_data("{" + one("F32", "[1]", "[0,4]").substr(1, one("F32", "[1]", "[0,4]").size() - 2) + "," +
                                          one("F32", "[1]", "[4,8]").substr(1),
                                      8)},
      {"same member twice", with_data("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4)},
      {"metadata twice", file_of("{\"__metadata__\":{},\"__metadata__\":{}}")},
      {"metadata key twice", file_of("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}")},
      {"same name by escape", file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},"
                                      "\"\\u0061\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}")},
      {"metadata is a string", file_of("{\"__metadata__\":\"x\"}")},
      {"metadata is an array", file_of("{\"__metadata__\":[]}")},
      {"metadata is null", file_of("{\"__metadata__\":null}")},
      {"metadata holds a number", file_of("{\"__metadata__\":{\"a\":1}}")},
      {"metadata holds null", file_of("{\"__metadata__\":{\"a\":null}}")},
      {"metadata holds an object", file_of("{\"__metadata__\":{\"a\":{}}}")},
  };
}

std::vector<Case> broken_layouts() {
  const auto two = [](const std::string& first, const std::string& second, size_t data) {
    return with_data("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" + first +
                         "},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" + second + "}}",
                     data);
  };
  return {
      {"hole at the start", with_data(one("F32", "[1]", "[4,8]"), 8)},
      {"hole between", two("[0,4]", "[8,12]", 12)},
      {"overlap", two("[0,4]", "[2,6]", 6)},
      {"both the same bytes", two("[0,4]", "[0,4]", 4)},
      {"overlap, file order reversed", two("[3,7]", "[0,4]", 7)},
      {"data missing", file_of(one("F32", "[1]", "[0,4]"))},
      {"data cut", with_data(one("F32", "[1]", "[0,4]"), 3)},
      {"data too long", with_data(one("F32", "[1]", "[0,4]"), 5)},
      {"second tensor cut", two("[0,4]", "[4,8]", 7)},
      {"polyglot: a file appended", with_data(one("F32", "[1]", "[0,4]"), 4) + "PK\x05\x06"},
      {"data without tensors", file_of("{}", "x")},
      {"data with metadata only", file_of("{\"__metadata__\":{\"format\":\"pt\"}}", "x")},
      {"empty tensor beyond the end", file_of(one("F32", "[0]", "[4,4]"))},
      {"unknown dtype beyond the end", file_of(one("X9", "[4]", "[0,4]"))},
  };
}

}  // namespace

std::string file_of(std::string_view header, std::string_view data, int64_t length) {
  const uint64_t written = length == -1 ? header.size() : static_cast<uint64_t>(length);
  std::string bytes;
  for (int i = 0; i < 8; ++i) {
    bytes += static_cast<char>(written >> (8 * i) & 0xff);
  }
  return bytes.append(header).append(data);
}

std::string one(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  std::string text = "{\"a\":{\"dtype\":\"";
  return text.append(dtype).append("\",\"shape\":").append(shape).append(",\"data_offsets\":").append(offsets).append("}}");
}

std::vector<Case> hostile_files() {
  std::vector<Case> cases = broken_frames();
  for (const std::vector<Case>& more : {broken_entries(), broken_layouts()}) {
    cases.insert(cases.end(), more.begin(), more.end());
  }
  return cases;
}

std::vector<Case> allowed_files() {
  return {
      {"nothing", file_of("{}")},
      {"padded with spaces", file_of("{}      ")},
      {"scalar", with_data(one("F32", "[]", "[0,4]"), 4)},
      {"empty tensor", file_of(one("F32", "[0,7]", "[0,0]"))},
      {"unknown dtype", with_data(one("X9", "[3]", "[0,5]"), 5)},
      {"sub-byte dtype", with_data(one("F4", "[8]", "[0,4]"), 4)},
      {"unknown member", with_data("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"note\":\"x\"}}", 1)},
      {"members in another order", with_data("{\"a\":{\"data_offsets\":[0,1],\"shape\":[1],\"dtype\":\"U8\"}}", 1)},
      {"tensors in another order", with_data("{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]},"
                                             "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
                                             2)},
      {"empty tensor between", with_data("{\"e\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[1,1]},"
                                         "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]},"
                                         "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
                                         2)},
      {"NUL in a name", with_data("{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1)},
      {"empty metadata", file_of("{\"__metadata__\":{}}")},
  };
}

}  // namespace lora::io::corpus
