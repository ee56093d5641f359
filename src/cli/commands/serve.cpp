#include <unistd.h>

#include <array>
#include <cerrno>

#include "chronos/base/text.h"
#include "chronos/os/file.h"
#include "chronos/requests/process.h"
#include "cli/commands/commands.h"
#include "cli/serve_program.h"

namespace chronos::cli {
namespace {

ServeProgram serve_program;

/// As the process was started with them.
std::vector<std::string> process_arguments() {
    constexpr std::size_t kSizeMax = std::size_t{16} << 20;
    const std::string text = os::read_or_empty("/proc/self/cmdline", kSizeMax);
    std::vector<std::string> arguments;
    for (const std::string_view part : split(text, '\0')) arguments.emplace_back(part);
    if (!arguments.empty() && arguments.back().empty()) arguments.pop_back();
    return arguments;
}

}  // namespace

void set_serve_program(ServeProgram program) {
    serve_program = program;
}

Error become_serve_program() {
    const std::string own = requests::program_path();
    const std::string path = own.substr(0, own.rfind('/') + 1) + "chronos-serve";
    std::vector<std::string> arguments = process_arguments();
    std::vector<char*> pointers;
    pointers.reserve(arguments.size() + 1);
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    execv(path.c_str(), pointers.data());
    return system_error(ErrorKind::execute, "run '" + path + "'", errno)
        .with_hint("It is installed beside chronos, and needs the library cpp-httplib.");
}

Result<int> run_serve(requests::Context& context) {
    if (serve_program.command == nullptr) return become_serve_program();
    return serve_program.command(context);
}

Result<> serve_http(requests::Context& context, engine::Channel& channel) {
    if (serve_program.engine == nullptr) return become_serve_program();
    return serve_program.engine(context, channel);
}

}  // namespace chronos::cli
