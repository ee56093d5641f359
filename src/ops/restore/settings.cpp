#include "ops/restore/settings.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "chronos/base/quote.h"
#include "chronos/base/text.h"
#include "chronos/pgdata/server_config.h"
#include "chronos/repo/stored_file.h"
#include "ops/restore/mapping.h"
#include "ops/restore/parameters.h"
#include "ops/restore/recovery.h"
#include "ops/restore/start_hint.h"
#include "ops/restore/target.h"
#include "ops/restore/timeline.h"

namespace chronos::ops::restore {
namespace {

namespace fs = std::filesystem;

/// Settings that decide where a recovery ends.
constexpr std::array<std::string_view, 5> kTargets{"recovery_target", "recovery_target_lsn",
                                                   "recovery_target_name", "recovery_target_time",
                                                   "recovery_target_xid"};

bool is_target(std::string_view name) {
    return std::any_of(kTargets.begin(), kTargets.end(),
                       [&](std::string_view target) { return pgdata::same_setting(target, name); });
}

constexpr std::string_view kAutoConf = "pg_data/postgresql.auto.conf";

/// The files of the backup by the place where they will be, and those of this machine elsewhere.
class PlannedFiles {
public:
    PlannedFiles(const RestoreRequest& request, const RestorePlan& plan)
        : request_(request), plan_(plan), local_(pgdata::local_config_source()) {}

    pgdata::ConfigSource source() const {
        return {[this](const std::string& path) { return read(path); },
                [this](const std::string& path) { return list(path); }};
    }

private:
    /// The name in the manifest; "" for what is not below the data directory.
    std::string name_of(const std::string& path) const {
        const std::string normal = fs::path(path).lexically_normal().string();
        const std::string root = fs::path(request_.pg_path).lexically_normal().string() + "/";
        return normal.starts_with(root) ? "pg_data/" + normal.substr(root.size()) : "";
    }
    Result<std::optional<std::string>> read(const std::string& path) const {
        const std::string name = name_of(path);
        if (name.empty()) {
            auto local = local_.read(path);
            if (local && *local) return local;
            auto kept = CHRONOS_TRY(repo::kept_config_source(plan_.outside).read(path));
            if (!kept) return local;
            return kept;
        }
        if (kept_in_place(name)) return local_.read(path);
        const repo::ManifestFile* file = plan_.manifest.find_file(name);
        if (file == nullptr) return std::optional<std::string>{};
        constexpr std::uint64_t kSizeMax = std::uint64_t{4} << 20;
        std::string content =
            CHRONOS_TRY(repo::read_small_file(request_.repositories[plan_.repository_index],
                                              request_.stanza, plan_.manifest, *file, kSizeMax));
        // What a restore before this one has set there does not stay.
        if (name == kAutoConf) content = without_set_aside(content);
        return std::optional(std::move(content));
    }
    Result<std::optional<std::vector<std::string>>> list(const std::string& path) const {
        const std::string name = name_of(path);
        if (name.empty()) return list_outside(path);
        std::vector<std::string> names;
        bool known = false;
        for (const repo::ManifestPath& directory : plan_.manifest.paths)
            known = known || directory.name == name;
        for (const repo::ManifestFile& file : plan_.manifest.files) {
            const std::string_view view = file.name.view();
            if (view.size() > name.size() + 1 && view.starts_with(name) &&
                view[name.size()] == '/' &&
                view.find('/', name.size() + 1) == std::string_view::npos)
                names.emplace_back(view.substr(name.size() + 1));
        }
        if (!known && names.empty()) return std::optional<std::vector<std::string>>{};
        return std::optional(std::move(names));
    }
    Result<std::optional<std::vector<std::string>>> list_outside(const std::string& path) const {
        auto local = local_.list(path);
        if (!local || *local) return local;
        return repo::kept_config_source(plan_.outside).list(path);
    }
    bool kept_in_place(const std::string& name) const {
        return plan_.type == RecoveryType::preserve && name == kAutoConf;
    }

    const RestoreRequest& request_;
    const RestorePlan& plan_;
    pgdata::ConfigSource local_;
};

/// Other spellings of a target are there to make the server pass over an earlier line only.
bool is_spelling(const RestorePlan& plan, const std::string& name) {
    return std::find(plan.spellings.begin(), plan.spellings.end(), name) != plan.spellings.end();
}

/// A connection string may have a password in it.
std::string shown(const pgdata::ConfigSetting& setting) {
    if (pgdata::same_setting(setting.name, "primary_conninfo"))
        return setting.name + " (" + setting.place + ")";
    return setting.name + " = '" + printable(setting.value, 120) + "' (" + setting.place + ")";
}

/// Whether the value says nothing: the server's own default.
bool is_default(const std::string& name, const std::string& value) {
    if (value.empty()) return true;
    if (name == "recovery_target_action") return value == "pause";
    if (name == "recovery_target_timeline") return value == "latest";
    if (name == "recovery_target_inclusive") return pgdata::parse_config_bool(value) == true;
    if (name == "recovery_min_apply_delay") return value == "0";
    return false;
}

/// What the cluster's files say and the block overrules.
void note_set_aside(const RestoreRequest& request, const pgdata::ServerConfig& config,
                    RestorePlan& plan) {
    for (const RecoverySetting& ours : recovery_setting_list(request, plan)) {
        if (is_spelling(plan, ours.name)) continue;
        const pgdata::ConfigSetting* theirs = config.find(ours.name);
        if (theirs == nullptr || is_default(ours.name, theirs->value) ||
            pgdata::parse_config_value("'" + ours.literal + "'") == theirs->value ||
            ours.name == "restore_command" || ours.name == "archive_mode" ||
            plan.other_settings.contains(ours.name))
            continue;
        plan.set_aside.push_back(shown(*theirs));
    }
}

/// Settings that only matter, or only exist, where the files set them.
void add_other_settings(const RestoreRequest& request, const pgdata::ServerConfig& config,
                        RestorePlan& plan) {
    if (plan.type == RecoveryType::standby) return;
    // A server that answers nobody cannot pause at the target for somebody to look: it would end.
    const std::string standby = config.value_of("hot_standby", "on");
    if (pgdata::parse_config_bool(standby) == false && !is_given(request, "hot_standby"))
        plan.other_settings["hot_standby"] = "on";
    if (config.find("promote_trigger_file") != nullptr &&
        !is_given(request, "promote_trigger_file"))
        plan.other_settings["promote_trigger_file"] = "";
}

/// A type that asks for no recovery leaves a backup that was taken of a running server without the
/// WAL that makes it whole, unless that is in the backup or the files say where it is.
void name_missing_recovery(const RestoreRequest& request, RestorePlan& plan) {
    if (!plan.manifest.options.online ||
        (plan.type != RecoveryType::none && plan.type != RecoveryType::preserve) ||
        plan.manifest.find_file("pg_data/pg_wal/" + plan.manifest.archive_start) != nullptr)
        return;
    if (plan.type == RecoveryType::preserve)
        for (const char* name : {"/recovery.signal", "/standby.signal"})
            if (::access((request.pg_path + name).c_str(), F_OK) == 0) return;
    plan.warnings.push_back(
        "a server started on this will not find the WAL that the backup needs: no recovery is "
        "asked "
        "for (--type=" +
        std::string(recovery_type_name(plan.type)) +
        "), and the backup has no WAL in it; WAL from " + plan.manifest.archive_start + " to " +
        plan.manifest.archive_stop +
        " must be put into pg_wal, or recovery be set up, before the server is started");
}

/// What stays as the cluster has it, and has a say in what a server on it does.
void name_what_stays(const RestoreRequest& request, const pgdata::ServerConfig& config,
                     RestorePlan& plan) {
    if (plan.type == RecoveryType::preserve) {
        for (const std::string_view name :
             {"recovery_target", "recovery_target_lsn", "recovery_target_name",
              "recovery_target_time", "recovery_target_xid", "recovery_target_timeline",
              "recovery_target_action", "restore_command"})
            if (const pgdata::ConfigSetting* setting = config.find(name);
                setting != nullptr && !setting->value.empty())
                plan.warnings.push_back("recovery will follow " + shown(*setting));
    }
    if (plan.type == RecoveryType::standby) {
        for (const std::string_view name :
             {"archive_cleanup_command", "recovery_end_command", "recovery_min_apply_delay",
              "primary_conninfo", "primary_slot_name", "promote_trigger_file"})
            if (const pgdata::ConfigSetting* setting = config.find(name);
                setting != nullptr && !is_default(std::string(name), setting->value) &&
                !is_given(request, std::string(name)))
                plan.warnings.push_back("the standby will follow " +
                                        (name == "primary_conninfo"
                                             ? std::string(name) + " of " + setting->place
                                             : shown(*setting)));
        const pgdata::ConfigSetting* const hot = config.find("hot_standby");
        if (hot != nullptr && pgdata::parse_config_bool(hot->value) == false &&
            !is_given(request, "hot_standby"))
            plan.warnings.push_back(shown(*hot) +
                                    ": nobody can ask the standby anything, not even how far it "
                                    "is, before it is promoted");
    }
    // A drill starts its server with settings of its own.
    if (const pgdata::ConfigSetting* setting = config.find("data_directory");
        setting != nullptr && request.durable &&
        !is_same_directory(setting->value, data_directory(plan.manifest)))
        plan.warnings.push_back(
            "a server started with this configuration uses another data "
            "directory: " +
            shown(*setting) + "; change that, or start it with pg_ctl -o " +
            shell_word("-c data_directory=" + shell_word(data_directory(plan.manifest))));
    for (const std::string& problem : config.problems)
        plan.warnings.push_back("the server will not start with this configuration: " + problem);
    for (const std::string& file : config.unread)
        plan.warnings.push_back("the plan does not know the settings of a configuration file: " +
                                file);
}

/// What a server syncs is as durable where files are left in the backup as anywhere. What it does
/// not sync needs one that never crashes, and there each death of the process that serves the
/// directory is as a power failure.
void name_what_is_not_durable(const pgdata::ServerConfig& config, RestorePlan& plan) {
    const auto is_off = [&](std::string_view name) {
        const pgdata::ConfigSetting* const setting = config.find(name);
        return setting != nullptr && pgdata::parse_config_bool(setting->value) == false ? setting
                                                                                        : nullptr;
    };
    if (const pgdata::ConfigSetting* const fsync = is_off("fsync"))
        plan.warnings.push_back(
            shown(*fsync) +
            ": until the directory is whole, a crash of the process that serves it is to this "
            "server what a power failure is: what it has not synced is gone, and it may not start "
            "again. Turn fsync on until then");
    if (const pgdata::ConfigSetting* const images = is_off("full_page_writes"))
        plan.warnings.push_back(
            shown(*images) +
            ": until the directory is whole, a crash of the process that serves it may leave half "
            "a page, as a power failure does; and recovery fetches each page that it changes. Turn "
            "full_page_writes on until then");
}

/// Targets that the files set, and that are still set when our block has been read.
std::string targets_left(const pgdata::ServerConfig& config) {
    // Names that differ in case only are settings of their own until the server applies them.
    std::vector<const pgdata::ConfigSetting*> last;
    for (const pgdata::ConfigSetting& setting : config.settings) {
        if (!is_target(setting.name)) continue;
        std::erase_if(last, [&](const auto* other) { return other->name == setting.name; });
        last.push_back(&setting);
    }
    std::erase_if(last, [](const auto* setting) { return setting->value.empty(); });
    if (last.size() < 2) return "";
    return shown(*last[0]) + " and " + shown(*last[1]);
}

pgdata::ServerConfig planned_config(const RestoreRequest& request, const RestorePlan& plan) {
    const PlannedFiles files(request, plan);
    const std::string& outside = plan.outside.server.config_file;
    return pgdata::read_server_config(
        outside.empty() ? request.pg_path + "/postgresql.conf" : outside,
        request.pg_path + "/postgresql.auto.conf", files.source());
}

}  // namespace

void plan_parameters(const RestoreRequest& request, RestorePlan& plan) {
    raise_parameters(request, planned_config(request, plan), plan);
}

void plan_settings(const RestoreRequest& request, RestorePlan& plan) {
    name_missing_recovery(request, plan);
    if (request.instant) name_what_is_not_durable(planned_config(request, plan), plan);
    if (major_of(plan.manifest.pg_version) < 12 || plan.type == RecoveryType::none) return;
    const pgdata::ServerConfig config = planned_config(request, plan);
    name_what_stays(request, config, plan);
    raise_parameters(request, config, plan);
    if (plan.type == RecoveryType::preserve) {
        if (const std::string both = targets_left(config); !both.empty())
            plan.problems.push_back({Error(ErrorKind::option_invalid,
                                           "a server allows one recovery target, and the existing "
                                           "settings have two: " +
                                               both)
                                         .with_hint("Remove one, or use another --type.")});
        return;
    }
    for (const pgdata::ConfigSetting& setting : config.settings) {
        const bool lower =
            std::find(kTargets.begin(), kTargets.end(), setting.name) != kTargets.end();
        if (is_target(setting.name) && !lower &&
            std::find(plan.spellings.begin(), plan.spellings.end(), setting.name) ==
                plan.spellings.end())
            plan.spellings.push_back(setting.name);
    }
    add_other_settings(request, config, plan);
    note_set_aside(request, config, plan);
}

Result<> check_settings(const RestoreRequest& request, const RestorePlan& plan) {
    if (major_of(plan.manifest.pg_version) < 12 || plan.type == RecoveryType::none ||
        plan.type == RecoveryType::preserve)
        return {};
    const std::string& root = data_directory(plan.manifest);
    const pgdata::ServerConfig config = pgdata::read_server_config(
        root + "/postgresql.conf", root + "/postgresql.auto.conf", pgdata::local_config_source());
    const auto failed = [&](const std::string& what) {
        return Error(ErrorKind::runtime,
                     "a server started in '" + root + "' would not do what was asked for: " + what)
            .with_hint(
                "The files are restored, but the cluster is left without global/pg_control so that "
                "it cannot be started; remove that setting from the configuration, or give it with "
                "--recovery-option, and restore again with --delta.");
    };
    for (const RecoverySetting& ours : recovery_setting_list(request, plan)) {
        if (is_spelling(plan, ours.name)) continue;
        const pgdata::ConfigSetting* counts = config.find(ours.name);
        if (counts == nullptr) return failed("it does not read " + ours.name);
        if (counts->value != pgdata::parse_config_value("'" + ours.literal + "'"))
            return failed(shown(*counts) + " counts");
    }
    if (const std::string both = targets_left(config); !both.empty())
        return failed("it allows one recovery target, and there are two: " + both);
    return {};
}

}  // namespace chronos::ops::restore
