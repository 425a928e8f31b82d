// Renders a template a line: {"template", "messages"} from the standard input becomes {"text"} or {"error"}. For jinja_peer.py.
#include <iostream>
#include <string>

#include "lora/base/error.h"
#include "lora/tokenizer/chat_template.h"

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const lora::Json row = lora::Json::parse(line);
    lora::Json result;
    try {
      const lora::tokenizer::ChatTemplate chat_template("template", row["template"].get<std::string>(), {});
      result["text"] = chat_template.render({row["messages"], nullptr}, false, "row").text;
    } catch (const lora::Error& error) {
      result["error"] = error.what();
    }
    std::cout << result.dump() << "\n";
  }
}
