#include "recovery.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "mapping.h"
#include "target.h"
#include "target_file.h"
#include "timeline.h"

namespace chronos::ops {
namespace {

/// Settings in order of their first appearance; a later value replaces an earlier one in place.
class Settings {
public:
    void set(const std::string& name, const std::string& value) {
        for (auto& [known, old] : list_)
            if (known == name) {
                old = value;
                return;
            }
        list_.emplace_back(name, value);
    }
    std::string text() const {
        std::string text;
        for (const auto& [name, value] : list_) text += name + " = '" + value + "'\n";
        return text;
    }

private:
    std::vector<std::pair<std::string, std::string>> list_;
};

/// For between single quotes. Only for what is generated or a target; the values of
/// --recovery-option are written as they are, as with pgBackRest.
std::string quoted(const std::string& value) {
    std::string text;
    for (char c : value) text += c == '\'' ? std::string("''") : std::string(1, c);
    return text;
}

void set_target(const RestoreRequest& request, const RestorePlan& plan, bool old_version,
                Settings& settings) {
    if (plan.type == RecoveryType::immediate) {
        settings.set("recovery_target", "immediate");
    } else if (has_recovery_target(plan.type)) {
        settings.set("recovery_target_" + std::string(recovery_type_name(plan.type)),
                     quoted(plan.target_setting));
    }
    if (request.target_exclusive) settings.set("recovery_target_inclusive", "false");
    if (request.target_action == TargetAction::promote)
        settings.set("recovery_target_action", "promote");
    if (request.target_action == TargetAction::shutdown)
        settings.set("recovery_target_action", "shutdown");
    // Before version 12 'current' is the default and cannot be written.
    std::string timeline = request.target_timeline;
    if (plan.type == RecoveryType::immediate) timeline = "current";
    if (!timeline.empty() && !(old_version && timeline == "current"))
        settings.set("recovery_target_timeline", timeline);
}

/// A line that sets a recovery target.
bool sets_target(std::string_view line) {
    constexpr std::array<std::string_view, 8> kNames{
        "recovery_target",          "recovery_target_action", "recovery_target_inclusive",
        "recovery_target_lsn",      "recovery_target_name",   "recovery_target_time",
        "recovery_target_timeline", "recovery_target_xid"};
    const std::size_t begin = line.find_first_not_of(" \t");
    if (begin == std::string_view::npos) return false;
    line.remove_prefix(begin);
    const std::string_view name = line.substr(0, line.find_first_of(" \t="));
    return name.size() < line.size() &&
           std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

std::string now_text(const RestoreRequest& request) {
    const std::string text = format_local_time(request.now != 0 ? request.now : unix_now());
    return text.substr(0, 19);
}

Result<std::string> read_existing(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(stream), {}};
    if (stream.bad()) return Error(ErrorKind::file_read, "unable to read '" + path + "'");
    return text;
}

/// Files that restore makes itself belong to whom the data directory belongs to.
class Writer {
public:
    Writer(const RestorePlan& plan, const Ownership& ownership, bool sync)
        : plan_(plan), sync_(sync) {
        options_.attributes.modified = unix_now();
        options_.sync = sync;
        for (const repo::ManifestPath& path : plan.manifest.paths) {
            if (path.name != "pg_data") continue;
            options_.attributes.mode = path.mode & 0644;
            options_.attributes.owner = ownership.owner_of(path.user, path.group);
        }
    }
    Result<> write(const char* name, const std::string& text) const {
        const Cancellation never;
        const CopyWatch watch{never, [](std::uint64_t) {}};
        const std::string path = path_of(plan_.manifest, "pg_data") + "/" + name;
        TargetFile file = CHRONOS_TRY(TargetFile::open(path, /*truncate=*/true, options_, watch));
        CHRONOS_TRY(file.write(io::bytes(text)));
        return file.finish();
    }

private:
    const RestorePlan& plan_;
    bool sync_;
    TargetFileOptions options_;
};

Result<> write_auto_conf(const RestoreRequest& request, const RestorePlan& plan,
                         const Writer& writer) {
    const std::string path = data_directory(plan.manifest) + "/postgresql.auto.conf";
    const bool exists = std::filesystem::exists(path);
    if (!exists) {
        log_warn("postgresql.auto.conf does not exist -- creating to contain recovery settings");
    } else {
        log_info("write updated " + path);
    }
    const std::string existing = exists ? CHRONOS_TRY(read_existing(path)) : "";
    const std::string time = now_text(request);
    const std::string block =
        plan.type == RecoveryType::none ? "" : recovery_settings(request, plan, time);
    return writer.write("postgresql.auto.conf", updated_auto_conf(existing, block, time));
}

}  // namespace

std::string recovery_settings(const RestoreRequest& request, const RestorePlan& plan,
                              const std::string& time) {
    const bool old_version = major_of(plan.manifest.pg_version) < 12;
    Settings settings;
    for (const auto& [key, value] : request.recovery_options) {
        std::string name = key;
        std::replace(name.begin(), name.end(), '-', '_');
        settings.set(name, value);
    }
    if (request.archive_mode_off) settings.set("archive_mode", "off");
    if (!request.recovery_options.contains("restore_command") &&
        !request.recovery_options.contains("restore-command"))
        settings.set("restore_command", quoted(request.restore_command));
    if (old_version && plan.type == RecoveryType::standby) settings.set("standby_mode", "on");
    set_target(request, plan, old_version, settings);
    return "# Recovery settings generated by chronos restore on " + time + "\n" + settings.text();
}

std::string updated_auto_conf(const std::string& existing, const std::string& block,
                              const std::string& time) {
    std::string text;
    std::vector<std::string_view> lines = split(existing, '\n');
    // The text behind the last line feed is no line of its own.
    if (!lines.empty() && lines.back().empty()) lines.pop_back();
    for (std::string_view line : lines) {
        if (sets_target(line)) text += "# Removed by chronos restore on " + time + " # ";
        text += std::string(line) + "\n";
    }
    if (block.empty()) return text;
    const std::string trimmed(trim(text));
    return (trimmed.empty() ? "" : trimmed + "\n\n") + block;
}

Result<> write_recovery_files(const RestoreRequest& request, const RestorePlan& plan,
                              const Ownership& ownership, bool sync) {
    const Writer writer(plan, ownership, sync);
    const bool old_version = major_of(plan.manifest.pg_version) < 12;
    if (plan.type == RecoveryType::preserve) {
        const std::string path = data_directory(plan.manifest) + "/postgresql.auto.conf";
        if (!old_version && !std::filesystem::exists(path))
            log_warn(
                "recovery type is preserve but postgresql.auto.conf does not exist -- "
                "cluster may not recover as intended");
        return {};
    }
    if (old_version) {
        if (plan.type == RecoveryType::none) return {};
        log_info("write " + data_directory(plan.manifest) + "/recovery.conf");
        return writer.write("recovery.conf", recovery_settings(request, plan, now_text(request)));
    }
    CHRONOS_TRY(write_auto_conf(request, plan, writer));
    if (plan.type == RecoveryType::none) return {};
    return writer.write(plan.type == RecoveryType::standby ? "standby.signal" : "recovery.signal",
                        "");
}

}  // namespace chronos::ops
