// Configuration files, variables and arguments are written by people and by other programs: none of
// them may crash the parser, and what is accepted must be readable by every accessor.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/text.h"
#include "chronos/config/config.h"
#include "config/option_table.h"
#include "fuzz.h"

namespace {

using chronos::config::Config;

void read_everything(const Config& config) {
    using namespace chronos::config;
    for (const Option& option : option_table()) {
        const Name name = name_of(option, option.group == Group::none ? 0 : 1);
        // By the accessor that is meant for it; all by all would only be slow.
        switch (option.type) {
            case Type::integer: config.get_int(IntName(name)); break;
            case Type::size: config.get_size(SizeName(name)); break;
            case Type::time: config.get_time(TimeName(name)); break;
            case Type::list: config.get_list(ListName(name)); break;
            case Type::hash:
                config.get_hash(HashName(name));
                config.get_number_map(HashName(name));
                break;
            case Type::boolean: config.get_bool(BoolName(name)); break;
            default: config.get_string(TextName(name));
        }
    }
    config.describe();
    config.command_line_options("archive-get");
    config.repo_keys();
}

/// A file that exists only in memory, with a name to give to --config.
class MemoryFile {
public:
    explicit MemoryFile(std::string_view text) : descriptor_(memfd_create("conf", 0)) {
        require(write(descriptor_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    }
    ~MemoryFile() { close(descriptor_); }
    MemoryFile(const MemoryFile&) = delete;
    MemoryFile& operator=(const MemoryFile&) = delete;
    std::string name() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

private:
    int descriptor_;
};

/// Lines that would have the fuzzer read whatever files the machine has.
bool names_a_file(std::string_view line) {
    for (const std::string_view part : {"file", "FILE", "con", "CON"})
        if (line.find(part) != std::string_view::npos) return true;
    return false;
}

}  // namespace

// Lines up to an empty one are arguments, or variables behind a '$'; the rest is a file.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const std::size_t end = text.find("\n\n");
    const std::string_view content = end == std::string_view::npos ? "" : text.substr(end + 2);
    if (content.find("-file") != std::string_view::npos) return 0;
    const MemoryFile file(content);
    chronos::config::Input input{.arguments = {"--config=" + file.name()},
                                 .environment = {},
                                 .program = "chronos",
                                 .terminal = false,
                                 .exec_id = {}};
    for (const std::string_view line : chronos::split(text.substr(0, end), '\n')) {
        if (names_a_file(line)) continue;
        if (line.starts_with('$'))
            input.environment.emplace_back(line.substr(1));
        else
            input.arguments.emplace_back(line);
    }
    std::vector<std::string> warnings;
    if (const auto config = chronos::config::resolve(input, warnings)) read_everything(*config);
    return 0;
}
