#include "chronos/pgdata/recovery_state.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>

#include "chronos/base/text.h"
#include "chronos/pgdata/control_file.h"

namespace chronos::pgdata {
namespace {

std::optional<std::string> read_small(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream) return std::nullopt;
    std::string text{std::istreambuf_iterator<char>(stream), {}};
    if (stream.bad()) return std::nullopt;
    return text;
}

/// The value of a setting in a file of PostgreSQL's, without quotes; the last one counts.
std::optional<std::string> setting_in(const std::string& text, std::string_view wanted) {
    std::optional<std::string> value;
    for (const std::string_view raw : split(text, '\n')) {
        const std::string_view line = trim(raw);
        const std::size_t end = line.find_first_of(" \t=");
        if (end == std::string_view::npos || line.substr(0, end) != wanted) continue;
        std::string_view rest = trim(line.substr(end));
        if (rest.starts_with('=')) rest = trim(rest.substr(1));
        if (rest.starts_with('\'')) {
            rest.remove_prefix(1);
            value = std::string(rest.substr(0, rest.find('\'')));
        } else {
            value = std::string(rest.substr(0, rest.find_first_of(" \t#")));
        }
    }
    return value;
}

RecoveryState::Kind kind_of(const std::string& pg_path) {
    const auto exists = [&](const char* name) {
        return ::access((pg_path + "/" + name).c_str(), F_OK) == 0;
    };
    if (exists("standby.signal")) return RecoveryState::Kind::standby;
    if (exists("recovery.signal")) return RecoveryState::Kind::to_an_end;
    // Before version 12.
    const auto old = read_small(pg_path + "/recovery.conf");
    if (!old) return RecoveryState::Kind::none;
    const std::string mode = setting_in(*old, "standby_mode").value_or("off");
    return mode == "on" || mode == "true" || mode == "yes" || mode == "1"
               ? RecoveryState::Kind::standby
               : RecoveryState::Kind::to_an_end;
}

std::optional<Timeline> newest_history(const std::string& pg_path) {
    const std::string path = pg_path + "/pg_wal";
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
    std::optional<Timeline> newest;
    if (!directory) return newest;
    while (const dirent* entry = ::readdir(directory.get()))
        if (is_timeline_history(entry->d_name))
            newest = std::max(newest.value_or(0), timeline_of_segment(entry->d_name));
    return newest;
}

}  // namespace

std::optional<RecoveryState::Leg> RecoveryState::leg_of(Timeline timeline) const {
    if (!target) return std::nullopt;
    if (timeline == *target)
        return Leg{switches.empty() ? Lsn{} : switches.back().switch_lsn, std::nullopt};
    for (std::size_t i = 0; i < switches.size(); ++i)
        if (switches[i].parent == timeline)
            return Leg{i == 0 ? Lsn{} : switches[i - 1].switch_lsn, switches[i].switch_lsn};
    return std::nullopt;
}

RecoveryState read_recovery_state(const std::string& pg_path) {
    RecoveryState state;
    state.kind = kind_of(pg_path);
    if (state.kind == RecoveryState::Kind::none) return state;
    std::string wanted;
    for (const char* name : {"/recovery.conf", "/postgresql.auto.conf"})
        if (const auto text = read_small(pg_path + name))
            wanted = setting_in(*text, "recovery_target_timeline").value_or(wanted);
    if (const auto number = parse_uint(wanted); number && *number > 0 && *number <= UINT32_MAX) {
        state.target = static_cast<Timeline>(*number);
    } else if (wanted.empty() || wanted == "latest") {
        state.target = newest_history(pg_path);
        state.may_have_refused = state.kind == RecoveryState::Kind::standby;
    } else if (const auto control = read_control_file(pg_path); control && wanted == "current") {
        state.target = control->timeline;
    }
    if (!state.target || *state.target == 1) return state;
    const auto text = read_small(pg_path + "/pg_wal/" + timeline_history_name(*state.target));
    auto switches = text ? parse_timeline_history(*text) : Error(ErrorKind::not_found, "");
    if (switches)
        state.switches = effective_switches(*std::move(switches));
    else
        state.target.reset();
    return state;
}

}  // namespace chronos::pgdata
