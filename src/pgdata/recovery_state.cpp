#include "chronos/pgdata/recovery_state.h"
#include "chronos/os/file.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <memory>

#include "chronos/base/clock.h"
#include "chronos/base/text.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/pgdata/server_config.h"

namespace chronos::pgdata {
namespace {

constexpr std::size_t kSizeMax = std::size_t{4} << 20;

std::optional<std::string> read_small(const std::string& path) {
    auto text = os::read_if_there(path, kSizeMax);
    return text ? *std::move(text) : std::nullopt;
}

bool exists(const std::string& path) {
    return ::access(path.c_str(), F_OK) == 0;
}

/// What the server reads about its recovery. Its configuration may lie elsewhere: then what a
/// restore wrote is known.
ServerConfig recovery_config(const std::string& pg_path) {
    const ConfigSource files = local_config_source();
    // Before version 12.
    if (exists(pg_path + "/recovery.conf"))
        return read_server_config(pg_path + "/recovery.conf", "", files);
    return read_server_config(pg_path + "/postgresql.conf", pg_path + "/postgresql.auto.conf",
                              files);
}

RecoveryState::Kind kind_of(const std::string& pg_path) {
    if (exists(pg_path + "/standby.signal")) return RecoveryState::Kind::standby;
    if (exists(pg_path + "/recovery.signal")) return RecoveryState::Kind::to_an_end;
    if (!exists(pg_path + "/recovery.conf")) return RecoveryState::Kind::none;
    const std::string mode = recovery_config(pg_path).value_of("standby_mode", "off");
    return parse_config_bool(mode) == true ? RecoveryState::Kind::standby
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

/// A time without its zone is meant in the server's, which nobody here knows.
std::optional<std::int64_t> instant_of(const std::string& text) {
    const bool has_zone = !parse_time_us(text + "Z");
    return has_zone ? parse_time_us(text) : std::nullopt;
}

RecoveryTarget target_in(const ServerConfig& config) {
    RecoveryTarget target;
    target.in_wal.name = config.value_of("recovery_target_name", "");
    // The WAL knows the lower half of a transaction id, without the epoch.
    if (const auto xid = parse_uint(config.value_of("recovery_target_xid", "")))
        target.in_wal.xid = static_cast<std::uint32_t>(*xid);
    target.time_us = instant_of(config.value_of("recovery_target_time", ""));
    target.lsn = Lsn::parse(config.value_of("recovery_target_lsn", ""));
    target.inclusive =
        parse_config_bool(config.value_of("recovery_target_inclusive", "on")).value_or(true);
    return target;
}

}  // namespace

bool RecoveryTarget::ends_before(io::Bytes content, Lsn at, Lsn before) const {
    // The server ends with the first record that begins there or behind it.
    if (lsn) return inclusive ? *lsn <= before : *lsn <= at;
    const TargetInWal found = find_target_in_wal(content, in_wal);
    if (time_us)
        return found.last_end_us &&
               (inclusive ? *found.last_end_us > *time_us : *found.last_end_us >= *time_us);
    return found.first && *found.first < at;
}

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
    const ServerConfig config = recovery_config(pg_path);
    for (const char* target : {"recovery_target_time", "recovery_target_xid",
                               "recovery_target_name", "recovery_target_lsn"})
        state.must_reach = state.must_reach || !config.value_of(target, "").empty();
    if (state.must_reach) state.end = target_in(config);
    const std::string wanted = config.value_of("recovery_target_timeline", "");
    const auto number = parse_config_int(wanted);
    if (number && *number > 0 && *number <= UINT32_MAX) {
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

Lsn replay_begin(const std::string& pg_path, const ControlFile& control) {
    constexpr std::string_view kBegin = "START WAL LOCATION: ";
    const std::string label = os::read_or_empty(pg_path + "/backup_label", kSizeMax);
    if (!label.starts_with(kBegin)) return control.redo;
    const std::string_view rest = std::string_view(label).substr(kBegin.size());
    return Lsn::parse(rest.substr(0, rest.find(' '))).value_or(Lsn{});
}

}  // namespace chronos::pgdata
