#include "chronos/config/command_table.h"

namespace chronos::config {

std::span<const CommandInfo> command_table() {
    return kCommands;
}

const CommandInfo& command_info(CommandId id) {
    return kCommands[static_cast<std::size_t>(id)];
}

const CommandInfo* find_command(std::string_view name) {
    for (const CommandInfo& info : kCommands)
        if (info.name == name) return &info;
    return nullptr;
}

}  // namespace chronos::config
