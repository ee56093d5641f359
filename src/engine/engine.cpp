#include "chronos/engine/engine.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/config/command_table.h"
#include "chronos/engine/guard.h"
#include "chronos/ops/mount/scratch_mount.h"
#include "chronos/requests/process.h"
#include "engine/roles.h"
#include "engine/signs_of_life.h"

namespace chronos::engine {
namespace {

using control::Message;
using Serve = Result<> (*)(requests::Context&, Channel&);
using ServePlain = Result<> (*)(Channel&, const Cancellation&);
using ServePart = Result<> (*)(requests::Context&, Channel&, const Parts&);

struct Role {
    std::string_view name;
    std::string_view command = "";  ///< whose options it takes; "": the next argument says
    Serve serve = nullptr;
    ServePlain serve_plain = nullptr;  ///< in place of it: takes no options
    ServePart serve_part = nullptr;    ///< in place of it: runs what main() handed over
    bool gives_signs = false;          ///< a job: somebody has to tell if it stands still
    /// Judges what the configuration says: the data directory of the server that asks counts only
    /// where that names none.
    bool judges_pg_path = false;
};

Result<> serve_http(requests::Context& context, Channel& channel, const Parts& parts) {
    return parts.serve_http(context, channel);
}

constexpr std::array kRoles{
    Role{.name = "archive", .command = "archive-push", .serve = serve_archive},
    Role{.name = "backup", .command = "backup", .serve = serve_backup, .gives_signs = true},
    Role{.name = "check", .command = "check", .serve = serve_check, .judges_pg_path = true},
    Role{.name = "command", .serve_part = serve_command},
    Role{.name = "hook", .serve_plain = serve_hook},
    Role{.name = "job", .serve_part = serve_job, .gives_signs = true},
    Role{.name = "health", .command = "health", .serve = serve_health},
    Role{.name = "serve", .command = "serve", .serve_part = serve_http},
    Role{.name = "stanza-create", .command = "stanza-create", .serve = serve_stanza_create},
    Role{.name = "stream", .command = "archive-push", .serve = serve_stream},
    Role{.name = "verify", .command = "verify", .serve = serve_verify},
};

/// What the configuration takes the role for (config::Config::rules()) is what it is given here.
constexpr bool is_that_of_config(const Role& role) {
    const auto command = config::command_of_role(role.name);
    return role.command ==
           (command ? config::kCommands[static_cast<std::size_t>(*command)].name : "");
}
static_assert(std::ranges::all_of(kRoles, is_that_of_config));

const Role* find_role(std::string_view name) {
    for (const Role& role : kRoles)
        if (role.name == name) return &role;
    return nullptr;
}

const char* level_name(LogLevel level) {
    switch (level) {
        case LogLevel::error: return "error";
        case LogLevel::warn: return "warning";
        case LogLevel::info: return "info";
        default: return "detail";
    }
}

void send_log_to(Channel& channel, const std::string& prefix = "") {
    set_log_receiver([&channel, prefix](LogLevel level, std::string_view text) {
        if (level > LogLevel::detail) return;
        channel.send(Message("log")
                         .with("level", level_name(level))
                         .with("text", prefix + without_controls(text)));
    });
}

Message with_stages(Message message, const StageTimes& stages) {
    return std::move(message)
        .with("read_ms", stages.read_ms)
        .with("compute_ms", stages.compute_ms)
        .with("store_ms", stages.store_ms)
        .with("clock_ms", stages.clock_ms)
        .with("stored_bytes", stages.stored_bytes);
}

void send_progress(Channel& channel, const Progress& progress) {
    Message message = Message("progress")
                          .with("phase", progress.phase)
                          .with("bytes_total", progress.bytes_total)
                          .with("bytes_done", progress.bytes_done)
                          .with("files_total", progress.files_total)
                          .with("files_done", progress.files_done);
    const bool known = progress.stages.total_ms() > 0;
    channel.send(known ? with_stages(std::move(message), progress.stages) : message);
}

config::Input make_engine_input(const Role& role, std::span<char* const> arguments,
                                char** environment) {
    config::Input input;
    if (!role.command.empty()) input.arguments.emplace_back(role.command);
    for (const char* argument : arguments) input.arguments.emplace_back(argument);
    for (; *environment != nullptr; ++environment) input.environment.emplace_back(*environment);
    input.program = requests::program_path();
    input.exec_id = requests::make_exec_id();
    return input;
}

Result<config::Config> resolve_for(const Role& role, const config::Input& input,
                                   std::vector<std::string>& warnings) {
    if (role.judges_pg_path) {
        config::Input written = input;
        std::erase_if(written.arguments, [](const std::string& argument) {
            return argument.starts_with("--pg1-path=");
        });
        Result<config::Config> config = config::resolve(written, warnings);
        if (config || config.error().kind() != ErrorKind::option_required) return config;
        warnings.clear();
    }
    return config::resolve(input, warnings);
}

Result<> serve_configured(const Role& role, const config::Input& input, Channel& channel,
                          Cancellation& cancel, const Parts& parts) {
    std::vector<std::string> warnings;
    const Result<config::Config> config = resolve_for(role, input, warnings);
    // Who looks does so all the time; chronos.check() and chronos.settings show what is wrong.
    if (role.name != "health" && role.name != "command")
        for (const std::string& warning : warnings) log_warn(warning);
    if (!config) return config.error();
    if (config->get_bool("dry-run")) send_log_to(channel, "[DRY-RUN] ");
    CHRONOS_TRY(requests::leave_root(*config));
    CHRONOS_TRY(requests::apply_process_options(*config));
    requests::Context context{
        .config = *config,
        .cancel = cancel,
        .progress = [&](const Progress& progress) { send_progress(channel, progress); },
        .program = input.program,
        .invoked_as = "chronos"};
    // Before there is a second thread.
    if (role.name == "job" && parts.has_own_mounts(*config))
        static_cast<void>(ops::mount::keep_mounts_to_myself());
    std::optional<SignsOfLife> signs;
    if (role.gives_signs) signs.emplace(channel);
    if (role.serve_part != nullptr) return role.serve_part(context, channel, parts);
    return role.serve(context, channel);
}

Result<> serve(const Role& role, std::span<char* const> arguments, char** environment,
               Channel& channel, Cancellation& cancel, const Parts& parts) {
    try {
        if (role.serve_plain != nullptr) return role.serve_plain(channel, cancel);
        return serve_configured(role, make_engine_input(role, arguments, environment), channel,
                                cancel, parts);
    } catch (const std::bad_alloc&) {
        return Error(ErrorKind::memory, "out of memory");
    } catch (const std::exception& exception) {
        return Error(ErrorKind::internal, exception.what());
    }
}

}  // namespace

int run_engine(int argc, char** argv, char** environment, const Parts& parts) {
    const bool is_job = argc > 3 && argv[2] == std::string_view("job");
    enter_engine_worker(is_job ? parts.time_to_end(argv[3]) : kTimeToEnd);
    static Cancellation cancel;  // a signal may come until the very end
    requests::set_up_signals(cancel);
    exit_with_guard();
    const auto taken = Channel::take_over();
    if (!taken) return 1;
    Channel& channel = **taken;
    const std::string_view name = argc > 2 ? argv[2] : "";
    channel.send(Message("hello")
                     .with("protocol", std::uint64_t{control::kProtocolVersion})
                     .with("version", CHRONOS_VERSION)
                     .with("role", name)
                     .with("pid", static_cast<std::uint64_t>(getpid())));
    send_log_to(channel);
    const Role* role = find_role(name);
    const Result<> served =
        role == nullptr ? Result<>(Error(ErrorKind::command_invalid,
                                         "unknown role '" + std::string(name) + "' of an engine"))
                        : serve(*role, {argv + 3, static_cast<std::size_t>(argc - 3)}, environment,
                                channel, cancel, parts);
    set_log_receiver({});
    if (served) return 0;
    channel.send_failure(served.error());
    return 1;
}

}  // namespace chronos::engine
