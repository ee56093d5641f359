#include "chronos/ops/mount/mount.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "chronos/base/text.h"
#include "chronos/os/process.h"
#include "chronos/present/print.h"
#include "chronos/present/progress_bar.h"
#include "chronos/requests/fetch_settings.h"
#include "chronos/requests/repositories.h"
#include "cli/commands/commands.h"
#include "cli/commands/instant_mount.h"

namespace chronos::cli {
namespace {

using namespace std::string_literals;
using ops::mount::InstantRequest;
using ops::mount::Mount;
using ops::mount::MountRequest;

Result<MountRequest> mount_request(const config::Config& config) {
    for (const auto& [option, value] :
         {std::pair("stanza", config.stanza()), std::pair("to", config.get_string("to"))})
        if (value.empty())
            return Error(ErrorKind::option_required,
                         std::string("mount command requires option: ") + option);
    MountRequest request;
    request.repositories = CHRONOS_TRY(requests::open_repositories(config));
    for (const unsigned key : config.repo_keys())
        if (config.is_directory(key))
            request.repository_paths[key] = config.get_string({"repo-path", key});
    request.stanza = config.stanza();
    request.set = config.get_string("set");
    request.path = config.get_string("to");
    request.exec_id = config.get_string("exec-id");
    request.fetch = requests::fetch_settings(config);
    return request;
}

/// The repository that has what the directory is missing.
Result<repo::Repository> repository_of(const requests::Context& context, const std::string& path,
                                       const ops::mount::InstantOrigin& origin) {
    for (repo::Repository& repository : CHRONOS_TRY(requests::open_repositories(context.config)))
        if (repository.key == origin.repo_key) return std::move(repository);
    return Error(ErrorKind::option_required, "what '" + path + "' is missing lies in repo" +
                                                 std::to_string(origin.repo_key) +
                                                 ", which is not configured");
}

/// Serves a directory that is not whole, in the foreground.
Result<int> serve_again(requests::Context& context, const std::string& path) {
    CHRONOS_TRY(ops::mount::free_dead_mount(path));
    const ops::mount::InstantOrigin origin = CHRONOS_TRY(ops::mount::instant_origin(path));
    InstantRequest request = instant_mount(context);
    request.path = path;
    request.repository = CHRONOS_TRY(repository_of(context, path, origin));
    request.ready = [](const std::string& line) { return present::print_text(line + "\n"); };
    CHRONOS_TRY(ops::mount::serve_instant(request, context.cancel));
    return 0;
}

/// The same by a process that is kept, behind this command.
Result<int> remount(requests::Context& context, const std::string& path) {
    // Before there is a second thread.
    os::Background background = CHRONOS_TRY(os::Background::start());
    CHRONOS_TRY(ops::mount::free_dead_mount(path));
    ops::mount::KeepRequest kept = instant_keeping(context, path);
    kept.ready = [&](const std::string& line) -> Result<> {
        CHRONOS_TRY(present::print_text(line + "\n"));
        background.ready();
        return {};
    };
    CHRONOS_TRY(ops::mount::keep_instant(kept, context.cancel));
    return 0;
}

Result<int> finish(requests::Context& context, const std::string& path) {
    const auto finished =
        CHRONOS_TRY(ops::mount::finish_served(path, context.cancel, context.progress));
    if (finished == ops::mount::Finished::in_use)
        CHRONOS_TRY(present::print_text("'" + path +
                                        "' is whole; its mount ends by itself when the server "
                                        "there is stopped\n"));
    return 0;
}

Result<int> abandon(requests::Context& context, const std::string& path) {
    CHRONOS_TRY(ops::mount::abandon_instant(
        {.path = path, .open = [&](const ops::mount::InstantOrigin& origin) {
             return repository_of(context, path, origin);
         }}));
    CHRONOS_TRY(present::print_text(
        "'" + path +
        "' is given up: its files have holes, and no server starts in it; restore it again with "
        "--delta, or remove it\n"));
    return 0;
}

std::uint64_t number(const Mount& mount, const std::string& key) {
    const auto found = mount.facts.find(key);
    return found == mount.facts.end() ? 0 : parse_uint(found->second).value_or(0);
}

nlohmann::json row_of(const Mount& mount) {
    nlohmann::json row = {{"path", mount.path},
                          {"stanza", mount.stanza},
                          {"repo", mount.repo_key},
                          {"label", mount.label},
                          {"state", ops::mount::mount_state_name(mount.state)}};
    for (const auto& [key, value] : mount.facts)
        if (key == "user" || key == "last-failure")
            row[key] = value;
        else
            row[key] = number(mount, key);
    return row;
}

std::string line_of(const Mount& mount) {
    const std::string path = printable(mount.path, SIZE_MAX);
    std::string line = path + "  " + printable(mount.stanza) + "  repo" +
                       std::to_string(mount.repo_key) + "  " + printable(mount.label) + "  " +
                       std::string(ops::mount::mount_state_name(mount.state));
    if (mount.state == Mount::State::dead)
        return line + ": its process is gone; end it with: chronos mount --finish=" + path + "\n";
    if (mount.state == Mount::State::silent) return line + ": its process does not answer\n";
    if (mount.state == Mount::State::private_) return line + ": of another user\n";
    line += "  process " + std::to_string(number(mount, "pid")) + "  since " +
            format_local_time(static_cast<UnixTime>(number(mount, "since"))) + "  fetched " +
            format_size(number(mount, "fetched-bytes"));
    if (const std::uint64_t left = number(mount, "left-bytes"); left > 0) {
        const std::uint64_t missing = number(mount, "missing-bytes");
        line += "  " + std::to_string((left - std::min(left, missing)) * 100 / left) + "% here, " +
                format_size(missing) + " to come";
        if (const std::uint64_t pace = number(mount, "bytes-per-second"); pace > 0)
            line += ", " + format_size(pace) + "/s, " +
                    present::format_duration(std::chrono::seconds(number(mount, "seconds-to-go"))) +
                    " to go";
        if (number(mount, "waits-for-room") > 0) line += ", waits for room on its disk";
    }
    if (number(mount, "whole") > 0) line += "  whole: ends when no server runs there";
    if (const std::uint64_t failures = number(mount, "failures"); failures > 0)
        line += "  " + std::to_string(failures) + " failures";
    return line + "\n";
}

}  // namespace

InstantRequest instant_mount(const requests::Context& context) {
    const config::Config& config = context.config;
    InstantRequest request;
    request.fetch = requests::fetch_settings(config);
    return request;
}

ops::mount::KeepRequest instant_keeping(const requests::Context& context, const std::string& path) {
    ops::mount::KeepRequest kept;
    kept.path = path;
    kept.command = {context.program};
    const auto has_name = [](const std::string& option, std::string_view name) {
        return option == "--" + std::string(name) ||
               option.starts_with("--" + std::string(name) + "=");
    };
    for (const std::string& option : context.config.command_line_options("mount"))
        if (std::ranges::none_of(std::array{"abandon", "background", "finish", "remount", "set",
                                            "log-level-console", "log-level-stderr"},
                                 [&](const char* name) { return has_name(option, name); }))
            kept.command.push_back(option);
    for (const std::string& option :
         {"--log-level-console=off"s, "--log-level-stderr=error"s, "--remount=" + path, "mount"s})
        kept.command.push_back(option);
    return kept;
}

Result<int> run_mount(requests::Context& context) {
    const config::Config& config = context.config;
    if (const std::string path = config.get_string("finish"); !path.empty())
        return finish(context, path);
    if (const std::string path = config.get_string("abandon"); !path.empty())
        return abandon(context, path);
    if (const std::string path = config.get_string("remount"); !path.empty())
        return config.get_bool("background") ? remount(context, path) : serve_again(context, path);
    // Before there is a second thread.
    std::optional<os::Background> background;
    if (config.get_bool("background")) background = CHRONOS_TRY(os::Background::start());
    MountRequest request = CHRONOS_TRY(mount_request(config));
    request.ready = [&](const std::string& line) -> Result<> {
        CHRONOS_TRY(present::print_text(
            line + "\nEnd it with: chronos mount --finish=" + request.path + "\n"));
        if (background) background->ready();
        return {};
    };
    CHRONOS_TRY(ops::mount::mount_backup(request, context.cancel));
    return 0;
}

Result<int> run_mounts(requests::Context& context) {
    const std::vector<Mount> mounts = CHRONOS_TRY(ops::mount::list_mounts());
    if (context.config.get_string("output") == "json") {
        nlohmann::json rows = nlohmann::json::array();
        for (const Mount& mount : mounts) rows.push_back(row_of(mount));
        CHRONOS_TRY(present::print_json(rows));
        return 0;
    }
    std::string text;
    for (const Mount& mount : mounts) text += line_of(mount);
    CHRONOS_TRY(present::print_text(text));
    return 0;
}

}  // namespace chronos::cli
