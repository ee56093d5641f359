#include "ops/restore/recovery.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "chronos/base/log.h"
#include "chronos/base/quote.h"
#include "chronos/base/text.h"
#include "chronos/os/file.h"
#include "chronos/pgdata/data_directory.h"
#include "chronos/pgdata/server_config.h"
#include "ops/restore/mapping.h"
#include "ops/restore/target.h"
#include "ops/restore/target_file.h"
#include "ops/restore/timeline.h"

namespace chronos::ops::restore {
namespace {

/// Behind a line that keeps a setting of the cluster out of this recovery; the next restore knows
/// it by that.
constexpr std::string_view kSetAside = "  # set aside by chronos restore";

constexpr std::size_t kConfigSizeMax = std::size_t{16} << 20;

/// Settings in order of their first appearance; a later value replaces an earlier one in place.
class Settings {
public:
    /// `literal` is what stands between the quotes.
    void set(const std::string& name, const std::string& literal) { put({name, literal, false}); }
    /// Unless it is set already.
    void set_aside(const std::string& name, const std::string& value) {
        if (find(name) == nullptr) put({name, conf_value(value), true});
    }
    const std::vector<RecoverySetting>& list() const { return list_; }

private:
    RecoverySetting* find(const std::string& name) {
        for (RecoverySetting& known : list_)
            if (known.name == name) return &known;
        return nullptr;
    }
    void put(RecoverySetting setting) {
        if (RecoverySetting* known = find(setting.name))
            *known = std::move(setting);
        else
            list_.push_back(std::move(setting));
    }
    std::vector<RecoverySetting> list_;
};

/// The values of --recovery-option are written as they are where that makes a value, as with
/// pgBackRest: there somebody may have doubled quotes himself.
std::string option_literal(const std::string& value) {
    return pgdata::parse_config_value("'" + value + "'") ? value : conf_value(value);
}

/// The setting of a recovery target of this type; "" for a type without one.
std::string target_name(RecoveryType type) {
    if (type == RecoveryType::immediate) return "recovery_target";
    return has_recovery_target(type) ? "recovery_target_" + std::string(recovery_type_name(type))
                                     : "";
}

/// What recovery_target_timeline must say for recovery to take the way of the plan: neither what
/// arrives in the archive later nor a history file that is lost may change it.
std::string timeline_value(const RestoreRequest& request, const RestorePlan& plan,
                           bool old_version) {
    if (plan.type == RecoveryType::immediate) return "current";
    // A standby goes where its primary goes, and another restore_command may see another archive.
    if (plan.target_timeline == 0 || old_version || plan.type == RecoveryType::standby ||
        request.recovery_options.contains("restore_command") ||
        request.recovery_options.contains("restore-command"))
        return request.target_timeline;
    return plan.target_timeline == plan.backup_timeline ? "current"
                                                        : std::to_string(plan.target_timeline);
}

/// The server would otherwise run into missing WAL in front of which the target lies; or fetch what
/// it need not (kNoPrefetch).
bool sets_no_prefetch(const RestoreRequest& request, const RestorePlan& plan) {
    const bool in_front = plan.no_reading_ahead && has_recovery_target(plan.type);
    return (in_front || request.instant) && major_of(plan.manifest.pg_version) >= 15;
}

void set_target(const RestoreRequest& request, const RestorePlan& plan, bool old_version,
                Settings& settings) {
    if (plan.type == RecoveryType::immediate)
        settings.set("recovery_target", "immediate");
    else if (has_recovery_target(plan.type))
        settings.set(target_name(plan.type), conf_value(plan.target_setting));
    if (request.target_exclusive) settings.set("recovery_target_inclusive", "false");
    if (request.target_action == TargetAction::promote)
        settings.set("recovery_target_action", "promote");
    if (request.target_action == TargetAction::shutdown)
        settings.set("recovery_target_action", "shutdown");
    // Before version 12 'current' is the default and cannot be written.
    const std::string timeline = timeline_value(request, plan, old_version);
    if (!timeline.empty() && !(old_version && timeline == "current"))
        settings.set("recovery_target_timeline", conf_value(timeline));
    if (sets_no_prefetch(request, plan)) settings.set("recovery_prefetch", "off");
}

/// Each history that a promotion asks for, and that is not there, is a process and, of a bucket, a
/// connection. A server that is thrown away needs no other answer than the plan has: the first
/// timeline has no history, and the archive has none of the one that this recovery begins.
std::string restore_command(const RestoreRequest& request, const RestorePlan& plan) {
    if (!request.writes_nowhere_else || plan.target_timeline == 0 || plan.free_timeline == 0)
        return request.restore_command;
    std::array<char, 17> next{};
    std::snprintf(next.data(), next.size(), "%08X.history", plan.free_timeline);
    return "case %f in 00000001.history|" + std::string(next.data()) + ") exit 1;; esac; " +
           request.restore_command;
}

/// Whatever postgresql.conf, or a file that it includes, says about a recovery was said for another
/// one. postgresql.auto.conf is read last, so that what is written there counts. No two targets
/// may be set at any moment while the server reads: those that are not wanted come first.
void set_others_aside(const RestorePlan& plan, Settings& settings) {
    const std::string wanted = target_name(plan.type);
    // The server passes over an earlier line only if its name is spelled the same.
    for (const std::string& spelling : plan.spellings) settings.set_aside(spelling, "");
    for (const char* name : {"recovery_target", "recovery_target_lsn", "recovery_target_name",
                             "recovery_target_time", "recovery_target_xid"})
        if (name != wanted) settings.set_aside(name, "");
}

void set_defaults(const RestorePlan& plan, Settings& settings) {
    settings.set_aside("recovery_target_action", "pause");
    settings.set_aside("recovery_target_inclusive", "true");
    settings.set_aside("recovery_target_timeline", "latest");
    for (const auto& [name, value] : plan.other_settings) settings.set_aside(name, value);
    // What a standby is told about the life it leads stays.
    if (plan.type == RecoveryType::standby) return;
    settings.set_aside("archive_cleanup_command", "");
    settings.set_aside("recovery_end_command", "");
    settings.set_aside("recovery_min_apply_delay", "0");
}

std::string text_of(const std::vector<RecoverySetting>& settings, bool set_aside) {
    std::string text;
    for (const RecoverySetting& setting : settings)
        if (setting.set_aside == set_aside)
            text += setting.name + " = '" + setting.literal + "'" +
                    std::string(set_aside ? kSetAside : "") + "\n";
    return text;
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
           std::any_of(kNames.begin(), kNames.end(),
                       [&](std::string_view known) { return pgdata::same_setting(known, name); });
}

std::string now_text(const RestoreRequest& request) {
    const std::string text = format_local_time(request.now != 0 ? request.now : unix_now());
    return text.substr(0, 19);
}

/// Files that restore makes itself belong to whom the data directory belongs to.
class Writer {
public:
    Writer(const RestorePlan& plan, const Ownership& ownership, bool sync) : plan_(plan) {
        wanted_.attributes.modified = unix_now();
        wanted_.sync = sync;
        for (const repo::ManifestPath& path : plan.manifest.paths) {
            if (path.name != "pg_data") continue;
            wanted_.attributes.mode = path.mode & 0644;
            wanted_.attributes.owner = ownership.owner_of(path.user, path.group);
        }
    }
    Result<> write(const std::string& name, const std::string& text) const {
        return write_with(wanted_, name, text);
    }
    /// For the owner alone, with the directories that it takes.
    Result<> write_private(const std::string& name, const std::string& text) const {
        WantedFile wanted = wanted_;
        wanted.attributes.mode = 0600;
        CHRONOS_TRY(make_private_directory(name.substr(0, name.rfind('/'))));
        return write_with(wanted, name, text);
    }
    /// With those that it lies in.
    Result<> make_private_directory(const std::string& name) const {
        std::string directory = path_of(plan_.manifest, "pg_data");
        const auto& owner = wanted_.attributes.owner;
        for (const std::string_view part : split(name, '/')) {
            directory.append("/").append(part);
            if (mkdir(directory.c_str(), 0700) == 0) {
                if (owner && lchown(directory.c_str(), owner->user, owner->group) != 0)
                    return system_error(ErrorKind::file_owner,
                                        "unable to set owner of '" + directory + "'", errno);
            } else if (errno != EEXIST) {
                return system_error(ErrorKind::path_create,
                                    "unable to create path '" + directory + "'", errno);
            }
        }
        return {};
    }

private:
    Result<> write_with(WantedFile wanted, const std::string& name, const std::string& text) const {
        wanted.path = path_of(plan_.manifest, "pg_data") + "/" + name;
        for (const repo::ManifestTarget& target : plan_.manifest.targets)
            if (target.name == "pg_data/" + name) wanted.behind_link = true;
        return TargetFile::replace_with_text(std::move(wanted), text);
    }

    const RestorePlan& plan_;
    WantedFile wanted_;
};

/// Below kOutsideDirectory; "" for what was never written by find_outside_config().
std::string outside_name(const std::string& path) {
    const std::string name = std::filesystem::path(path).lexically_normal().string();
    if (!name.starts_with('/') || (name + "/").find("/../") != std::string::npos) return "";
    return kOutsideDirectory + name;
}

/// What lay outside of the data directory, each file below its former path in a directory of its
/// own.
Result<> write_outside(const RestorePlan& plan, const Writer& writer) {
    for (const std::string& path : plan.outside.directories)
        if (const std::string name = outside_name(path); !name.empty())
            CHRONOS_TRY(writer.make_private_directory(name));
    for (const repo::OutsideFile& file : plan.outside.files)
        if (const std::string name = outside_name(file.path); !name.empty())
            CHRONOS_TRY(writer.write_private(name, file.content));
    return {};
}

Result<> write_auto_conf(const RestoreRequest& request, const RestorePlan& plan,
                         const Writer& writer) {
    const std::string path = data_directory(plan.manifest) + "/postgresql.auto.conf";
    const bool exists = std::filesystem::exists(path);
    if (!exists) {
        log_warn("postgresql.auto.conf does not exist -- creating to contain recovery settings");
    } else {
        log_info("write updated " + path);
    }
    const std::string existing =
        exists ? CHRONOS_TRY(os::read_if_there(path, kConfigSizeMax)).value_or("") : "";
    const std::string time = now_text(request);
    const std::string block =
        plan.type == RecoveryType::none ? "" : recovery_settings(request, plan, time);
    return writer.write("postgresql.auto.conf", updated_auto_conf(existing, block, time));
}

}  // namespace

bool is_without_prefetch_for_now(const RestoreRequest& request, const RestorePlan& plan) {
    const bool writes_settings =
        plan.type != RecoveryType::none && plan.type != RecoveryType::preserve;
    const bool in_front = plan.no_reading_ahead && has_recovery_target(plan.type);
    return request.instant && writes_settings && !in_front && sets_no_prefetch(request, plan) &&
           !request.recovery_options.contains("recovery_prefetch") &&
           !request.recovery_options.contains("recovery-prefetch");
}

std::vector<RecoverySetting> recovery_setting_list(const RestoreRequest& request,
                                                   const RestorePlan& plan) {
    const bool old_version = major_of(plan.manifest.pg_version) < 12;
    Settings settings;
    for (const auto& [key, value] : request.recovery_options) {
        std::string name = key;
        std::replace(name.begin(), name.end(), '-', '_');
        settings.set(name, option_literal(value));
    }
    if (request.archive_mode_off) settings.set("archive_mode", "off");
    if (!request.recovery_options.contains("restore_command") &&
        !request.recovery_options.contains("restore-command"))
        settings.set("restore_command", conf_value(restore_command(request, plan)));
    if (old_version && plan.type == RecoveryType::standby) settings.set("standby_mode", "on");
    // recovery.conf of old versions is all that they read about a recovery.
    if (!old_version) set_others_aside(plan, settings);
    set_target(request, plan, old_version, settings);
    if (!old_version) set_defaults(plan, settings);
    return settings.list();
}

std::string recovery_settings(const RestoreRequest& request, const RestorePlan& plan,
                              const std::string& time) {
    const std::vector<RecoverySetting> settings = recovery_setting_list(request, plan);
    return "# Recovery settings generated by chronos restore on " + time + "\n" +
           text_of(settings, /*set_aside=*/true) + text_of(settings, /*set_aside=*/false);
}

std::string without_set_aside(const std::string& existing) {
    std::string text;
    std::vector<std::string_view> lines = split(existing, '\n');
    // The text behind the last line feed is no line of its own.
    if (!lines.empty() && lines.back().empty()) lines.pop_back();
    for (const std::string_view line : lines)
        if (!line.ends_with(kSetAside)) text += std::string(line) + "\n";
    return text;
}

std::string updated_auto_conf(const std::string& existing, const std::string& block,
                              const std::string& time) {
    std::string text;
    const std::string kept = without_set_aside(existing);
    std::vector<std::string_view> lines = split(kept, '\n');
    if (!lines.empty() && lines.back().empty()) lines.pop_back();
    for (const std::string_view line : lines) {
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
    CHRONOS_TRY(write_outside(plan, writer));
    if (request.writes_nowhere_else)
        CHRONOS_TRY(writer.write(pgdata::kScratchSignal,
                                 "This server writes nowhere but in its own directories.\n"));
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

}  // namespace chronos::ops::restore
