#include "chronos/base/text.h"
#include "chronos/ops/restore/restore.h"
#include "ops/restore/mapping.h"
#include "ops/restore/target.h"

namespace chronos::ops::restore {
namespace {

std::string line(const char* label, const std::string& value) {
    std::string text = "    " + std::string(label) + ":";
    text.resize(std::max<std::size_t>(text.size() + 1, 22), ' ');
    return text + value + "\n";
}

std::string target_text(const RestorePlan& plan) {
    switch (plan.type) {
        case RecoveryType::default_: return "end of the WAL in the archive";
        case RecoveryType::immediate: return "as soon as the backup is consistent";
        case RecoveryType::time:
            return plan.target_us ? "time " + format_instant(*plan.target_us)
                                  : "time " + plan.target_setting + " (as PostgreSQL reads it)";
        case RecoveryType::standby: return "standby, follows a primary";
        case RecoveryType::preserve: return "as existing settings say";
        case RecoveryType::none: return "none, no WAL is fetched";
        default:
            return std::string(recovery_type_name(plan.type)) + " " +
                   printable(plan.target_setting);
    }
}

std::string wal_lines(const RestorePlan& plan) {
    const RestoreWal& wal = plan.wal;
    if (wal.first.empty()) return "";
    std::string text = line("wal start", wal.first);
    if (!wal.last.empty())
        text +=
            line("wal in archive", "up to " + wal.last + " (" + std::to_string(wal.count) +
                                       " segments), stored " + format_local_time(wal.last_stored));
    if (wal.missing_count > 0)
        text += line("wal missing",
                     std::to_string(wal.missing_count) + ", the first: " + join(wal.missing, ", "));
    std::string timelines = std::to_string(plan.backup_timeline);
    if (plan.target_timeline != plan.backup_timeline)
        timelines += " to " + std::to_string(plan.target_timeline);
    return text + line("timeline", timelines);
}

std::string part_text(const LeftPlan::Part& part) {
    return std::to_string(part.file_count) + " files, " + format_size(part.size_bytes) + " from " +
           format_size(part.stored_bytes) + " in the repository";
}

std::string left_lines(const RestorePlan& plan) {
    if (!plan.left) return "";
    std::string text = line("at once", part_text(plan.left->at_once));
    text += line("left for now",
                 part_text(plan.left->left) + ", fetched when asked for, and behind the server");
    text += line("random access",
                 repo::random_access_text(plan.left->random_access) + " of what is left for now");
    if (plan.left->without_prefetch)
        text += line("setting", std::string(kNoPrefetch) +
                                    " until all is there: reading ahead would fetch pages that "
                                    "the WAL has");
    return text;
}

}  // namespace

std::string format_restore_plan(const RestorePlan& plan) {
    const repo::Manifest& manifest = plan.manifest;
    std::string text = "restore plan\n";
    text += line("backup", manifest.label + " in repo" + std::to_string(plan.repo_key) +
                               ", which " + plan.reason);
    text += line("backup time", format_local_time(manifest.timestamp_start) + " / " +
                                    format_local_time(manifest.timestamp_stop));
    if (manifest.references.size() > 1)
        text += line("backups read", join(manifest.references, ", "));
    text += line("recover to", target_text(plan));
    text += wal_lines(plan);
    text += line("data directory", data_directory(manifest));
    for (const repo::ManifestTarget& target : manifest.targets)
        if (target.is_link)
            text += line(
                target.tablespace_oid != 0 ? "tablespace" : "link",
                printable((target.tablespace_oid != 0 ? target.tablespace_name : target.name) +
                              " => " + target.path + (target.file.empty() ? "" : "/" + target.file),
                          SIZE_MAX));
    if (plan.save_current)
        text +=
            line("moved aside", "first of all, what is in data directory, tablespaces and links");
    text +=
        line("files", std::to_string(plan.file_count) + ", " + format_size(plan.size_bytes) +
                          " from " + format_size(plan.stored_size_bytes) + " in the repository");
    text += line("random access", repo::random_access_text(plan.random_access));
    text += left_lines(plan);
    for (const RestoreSpace& space : plan.space)
        text += line("space", space.path + ": needs " + format_size(space.needed_bytes) +
                                  ", free " + format_size(space.free_bytes));
    if (!plan.outside.empty()) {
        std::vector<std::string> paths;
        for (const repo::OutsideFile& file : plan.outside.files)
            paths.push_back(printable(file.path));
        text += line("configuration", "lay outside of the data directory; put into '" +
                                          data_directory(manifest) + "/" + kOutsideDirectory +
                                          "': " + join(paths, ", "));
    }
    for (const std::string& setting : plan.set_aside) text += line("set aside", setting);
    for (const auto& [name, value] : plan.other_settings)
        text += line("setting", name + " = '" + printable(value) + "' for this recovery");
    for (const std::string& warning : plan.warnings) text += line("warning", warning);
    for (const RestoreProblem& problem : plan.problems)
        text += line("problem", problem.error.text());
    return text + line("verdict", plan.problems.empty() ? "can be done" : "cannot be done");
}

}  // namespace chronos::ops::restore
