#include "cli/dispatch.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <mutex>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/config/command_table.h"
#include "chronos/os/local_file.h"
#include "chronos/present/log_output.h"
#include "chronos/present/print.h"
#include "chronos/present/progress_bar.h"
#include "chronos/requests/log_settings.h"
#include "chronos/requests/process.h"
#include "cli/commands/commands.h"
#include "cli/serve_program.h"

namespace chronos::cli {
namespace {

struct Verb {
    std::string_view name;
    requests::Command run;
};

/// What each is for stands in include/chronos/config/command_table.h.
constexpr std::array kCommands{
    Verb{"annotate", run_annotate},
    Verb{"archive-get", run_archive_get},
    Verb{"archive-push", run_archive_push},
    Verb{"backup", run_backup},
    Verb{"check", run_check},
    Verb{"config-list", run_config_list},
    Verb{"drill", run_drill},
    Verb{"expire", run_expire},
    Verb{"health", run_health},
    Verb{"help", run_help},
    Verb{"hold", run_hold},
    Verb{"info", run_info},
    Verb{"look", run_look},
    Verb{"maintenance", run_maintenance},
    Verb{"mount", run_mount},
    Verb{"mounts", run_mounts},
    Verb{"recover-table", run_recover_table},
    Verb{"rekey", run_rekey},
    Verb{"repair", run_repair},
    Verb{"replica", run_replica},
    Verb{"repo-get", run_repo_get},
    Verb{"repo-ls", run_repo_ls},
    Verb{"repo-usage", run_repo_usage},
    Verb{"restore", run_restore},
    Verb{"serve", run_serve},
    Verb{"stanza-claim", run_stanza_claim},
    Verb{"stanza-create", run_stanza_create},
    Verb{"stanza-delete", run_stanza_delete},
    Verb{"stanza-upgrade", run_stanza_upgrade},
    Verb{"start", run_start},
    Verb{"stop", run_stop},
    Verb{"unhold", run_unhold},
    Verb{"verify", run_verify},
    Verb{"version", run_version},
};

constexpr bool has_one_function(const config::CommandInfo& info) {
    const auto count = std::ranges::count(kCommands, info.name, &Verb::name);
    return count == (info.internal ? 0 : 1);
}
static_assert(std::ranges::all_of(config::kCommands, has_one_function),
              "a command has no function here, or more than one");
static_assert(std::ranges::all_of(kCommands,
                                  [](const Verb& verb) {
                                      return std::ranges::count(config::kCommands, verb.name,
                                                                &config::CommandInfo::name) == 1;
                                  }),
              "a function is here for a command that there is not");

std::string invoked_as(std::string_view argument) {
    return std::string(argument.substr(argument.rfind('/') + 1));
}

config::Input make_input(int argc, char** argv, char** environment) {
    config::Input input;
    for (int i = 1; i < argc; ++i) input.arguments.emplace_back(argv[i]);
    for (; *environment != nullptr; ++environment) input.environment.emplace_back(*environment);
    input.program = requests::program_path();
    input.terminal = isatty(STDOUT_FILENO) != 0;
    input.exec_id = requests::make_exec_id();
    return input;
}

/// The bar and the log share a terminal: one lock keeps a line of one out of a line of the other.
class Display {
public:
    explicit Display(const config::Config& config) : bar_(style(config), columns()) {}

    void show(const Progress& progress) {
        std::optional<std::string> text;
        {
            const std::lock_guard lock(mutex_);
            text = bar_.update(progress, present::ProgressBar::Clock::now());
            if (text && bar_.style() == present::ProgressBar::Style::line) write_terminal(*text);
        }
        if (text && bar_.style() == present::ProgressBar::Style::log) log_info(*text);
    }

    void clear() {
        const std::lock_guard lock(mutex_);
        write_terminal(bar_.erase());
    }

private:
    static present::ProgressBar::Style style(const config::Config& config) {
        if (!config.get_bool("progress")) return present::ProgressBar::Style::none;
        return isatty(STDERR_FILENO) != 0 ? present::ProgressBar::Style::line
                                          : present::ProgressBar::Style::log;
    }

    static unsigned columns() {
        winsize size = {};
        return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    }

    static void write_terminal(const std::string& text) {
        // A terminal that went away takes the bar with it, and nothing else.
        if (!text.empty() && write(STDERR_FILENO, text.data(), text.size()) < 0) return;
    }

    std::mutex mutex_;
    present::ProgressBar bar_;
};

/// Before the options are known there is no telling where the log should go.
int report_early(const Error& error, const std::vector<std::string>& warnings) {
    std::string text;
    for (const std::string& warning : warnings)
        text +=
            present::LogLine{.time = "", .process = false, .level = LogLevel::warn, .text = warning}
                .format();
    text += present::LogLine{.time = "",
                             .process = false,
                             .level = LogLevel::error,
                             .text = present::error_text(error)}
                .format();
    if (write(STDERR_FILENO, text.data(), text.size()) < 0) return static_cast<int>(error.kind());
    return static_cast<int>(error.kind());
}

Result<int> run_command(requests::Context& context, present::LogOutput& output,
                        const std::string& who) {
    const requests::Command command = find_command_function(context.config.command());
    if (command == nullptr) return requests::not_in_this_version(context.config.command());
    CHRONOS_TRY(requests::apply_process_options(context.config));
    const std::string pg_path = context.config.get_string("pg1-path");
    os::give_local_files_to_owner_of(pg_path);
    output.open_file();
    if (!config::find_command(context.config.command())->quiet)
        log_info(context.config.command() + " command begin chronos " CHRONOS_VERSION " by " + who +
                 ": " + printable(context.config.describe(), SIZE_MAX));
    Result<int> result = requests::run_guarded(command, context);
    // A restore may have made the directory, or given it its owner.
    os::give_local_files_to_owner_of(pg_path);
    return result;
}

int report(const std::string& command, const Result<int>& result, std::chrono::milliseconds took) {
    const bool quiet = config::find_command(command)->quiet;
    if (result) {
        if (!quiet)
            log_info(command + " command end: completed successfully (" +
                     std::to_string(took.count()) + "ms)");
        return *result;
    }
    const Error& error = result.error();
    const std::string signal = requests::received_signal();
    const bool by_signal = error.kind() == ErrorKind::cancelled && !signal.empty();
    if (!by_signal) log(LogLevel::error, present::error_text(error));
    const std::string text = present::error_text(Error(error.kind(), ""));
    if (!quiet)
        log_info(command + " command end: " +
                 (by_signal ? "terminated on signal [" + signal + "]"
                            : "aborted with exception " + text.substr(0, text.find(':'))));
    return static_cast<int>(error.kind());
}

}  // namespace

requests::Command find_command_function(std::string_view name) {
    for (const Verb& entry : kCommands)
        if (entry.name == name) return entry.run;
    return nullptr;
}

requests::Command find_job_function(std::string_view name) {
    if (name == "drill") return run_drill_job;
    return name == "recover-table" ? run_recover_table_job : find_command_function(name);
}

bool has_own_mounts(const config::Config& config) {
    const std::string command = config.command();
    return command == "recover-table" || (command == "drill" && config.get_bool("instant"));
}

std::chrono::seconds time_to_end(std::string_view name) {
    // What it has made in the live database is taken back, however large that is.
    return name == "recover-table" ? std::chrono::seconds(120) : engine::kTimeToEnd;
}

engine::Parts engine_parts() {
    return {.find_command = find_command_function,
            .find_job = find_job_function,
            .has_own_mounts = has_own_mounts,
            .time_to_end = time_to_end,
            .serve_http = serve_http};
}

int run_program(int argc, char** argv, char** environment) {
    const auto start = std::chrono::steady_clock::now();
    static Cancellation cancel;  // a signal may come until the very end
    requests::set_up_signals(cancel);
    const std::string who = requests::started_by();
    const config::Input input = make_input(argc, argv, environment);
    std::vector<std::string> warnings;
    const Result<config::Config> config = config::resolve(input, warnings);
    if (!config) return report_early(config.error(), warnings);
    if (const auto left = requests::leave_root(*config); !left)
        return report_early(left.error(), warnings);

    Display display(*config);
    present::LogOutput output(requests::log_settings(*config), [&] { display.clear(); });
    present::set_before_print([&] { display.clear(); });
    output.show_early(warnings);
    requests::Context context{.config = *config,
                              .cancel = cancel,
                              .progress = [&](const Progress& progress) { display.show(progress); },
                              .program = input.program,
                              .invoked_as = invoked_as(argc > 0 ? argv[0] : "")};
    const Result<int> result = run_command(context, output, who);
    display.clear();
    present::set_before_print({});
    return report(config->command(), result,
                  std::chrono::duration_cast<std::chrono::milliseconds>(
                      std::chrono::steady_clock::now() - start));
}

}  // namespace chronos::cli
