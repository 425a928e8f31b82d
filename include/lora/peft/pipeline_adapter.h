#pragma once
#include <string>
#include <vector>

#include "lora/peft/adapter.h"

// An adapter of a text-to-image pipeline changes several models: it is one Adapter whose modules are named by the component that they
// belong to, "unet.<module>", "text_encoder.<module>" (as in diffusers' files), so that everything that works on updates works on it. Its
// PEFT folder holds the adapter of the network that is denoised with, and text encoders' adapters in folders with the component's name.
namespace lora::peft {

/// The components that an adapter may have updates of, in the order in which they are written.
const std::vector<std::string>& pipeline_components();

/// The component of a name that begins with one and a dot; empty: it has none.
std::string component_of(const std::string& name);

/// The name of a component's module in an adapter of the pipeline. Modules of CLIP's text model get `text_model.` if they lack it:
/// transformers 5.6 and later leave it out, and every other program expects it.
std::string pipeline_name(const std::string& component, const std::string& module);

/// The name that chooses one of a component's modules in PEFT's lists and patterns, whether the model has `text_model.` in its names or
/// not.
std::string target_of(const std::string& module);

/// Whether the name, without a component, is that of a UNet's module: no other model has such names.
bool is_unet_module(const std::string& module);

/// Whether the adapter is one of a pipeline: its modules are named by components.
bool is_of_pipeline(const Adapter& adapter);

/// Which Stable Diffusion the adapter's base is, by its modules and their sizes: "Stable Diffusion 1", "Stable Diffusion 2" or "Stable
/// Diffusion XL"; empty: they do not tell.
std::string pipeline_family(const Adapter& adapter);

/// The component whose PEFT folder this is, told by its modules: "unet" or "transformer" (SD3, FLUX); empty: another model's.
std::string network_of_folder(const Adapter& adapter);

/// The adapter of one component, with the module names of that component's model.
struct ComponentAdapter {
  std::string component;
  Adapter adapter;
};

/// The adapter of a pipeline from those of its components. Options that write_adapter does not take from the updates are those of the
/// first. Throws model Error if one part needs settle_start and another one does not.
Adapter joined(std::vector<ComponentAdapter> parts);

/// The reverse: the adapters of the components that it has updates of, with target_modules that choose each module by itself. Throws model
/// Error if only some modules of one have a magnitude, because PEFT's use_dora is for all of them.
std::vector<ComponentAdapter> divided(const Adapter& adapter);

/// The folder of a component in the folder of an adapter: the folder itself for the network.
std::filesystem::path component_folder(const std::filesystem::path& folder, const std::string& component);

}  // namespace lora::peft
