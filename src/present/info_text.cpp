#include <algorithm>
#include <cstdio>

#include "chronos/base/text.h"
#include "chronos/present/info_output.h"

namespace chronos::present {
namespace {

using ops::info::InfoArchive;
using ops::info::InfoBackup;
using ops::info::InfoCode;
using ops::info::InfoDatabase;
using ops::info::InfoDetail;
using ops::info::InfoReport;
using ops::info::InfoRepository;
using ops::info::InfoStanza;
using ops::info::InfoStatus;

/// " - 29.56% complete"; "" while the progress is not known.
std::string percent_text(const repo::LockState& state) {
    if (!state.size_bytes || !state.size_complete_bytes || *state.size_bytes == 0) return "";
    const double percent = static_cast<double>(*state.size_complete_bytes) * 100.0 /
                           static_cast<double>(*state.size_bytes);
    char text[48];
    std::snprintf(text, sizeof text, " - %.2f%% complete", percent);
    return text;
}

struct BackupLocks {
    unsigned held = 0;
    repo::LockState sum;
};

BackupLocks sum_backup_locks(const InfoStanza& stanza) {
    BackupLocks locks;
    for (const InfoRepository& repository : stanza.repositories) {
        const repo::LockState& state = repository.backup_lock;
        if (!state.held) continue;
        if (state.size_bytes && state.size_complete_bytes) {
            ++locks.held;
            locks.sum.size_bytes = locks.sum.size_bytes.value_or(0) + *state.size_bytes;
            locks.sum.size_complete_bytes =
                locks.sum.size_complete_bytes.value_or(0) + *state.size_complete_bytes;
        }
        locks.sum.held = true;
    }
    return locks;
}

/// "backup/expire running - 29.56% complete, restore running"; "" when nothing runs.
std::string running_text(const InfoStanza& stanza) {
    std::string text;
    const BackupLocks locks = sum_backup_locks(stanza);
    if (locks.sum.held) text = "backup/expire running" + percent_text(locks.sum);
    if (stanza.restore_lock.held) {
        if (!text.empty()) text += ", ";
        text += "restore running" + percent_text(stanza.restore_lock);
    }
    return text;
}

bool listed_per_repository(InfoCode code) {
    return code == InfoCode::different_across_repos || code == InfoCode::database_mismatch ||
           code == InfoCode::other;
}

std::string status_line(const InfoStanza& stanza) {
    const std::string running = running_text(stanza);
    const std::string behind = running.empty() ? "" : " (" + running + ")";
    const InfoStatus& status = stanza.status;
    if (status.code == InfoCode::ok) return "ok" + behind;
    if (status.code == InfoCode::different_across_repos) return "mixed" + behind;
    return "error (" + status.message + (running.empty() ? "" : ", " + running) + ")";
}

/// The state of each repository, where the stanza has no common one.
std::string repository_lines(const InfoStanza& stanza) {
    const bool several = stanza.repositories.size() > 1;
    const std::string indent(several ? 15 : 12, ' ');
    std::string text;
    for (const InfoRepository& repository : stanza.repositories) {
        const InfoStatus& status = repository.status;
        if (several) {
            text += "        repo" + std::to_string(repository.key) + ": ";
            if (status.code == InfoCode::ok)
                text += "ok\n";
            else
                text += "error (" +
                        std::string(status.code == InfoCode::other ? "other" : status.message) +
                        ")\n";
        }
        if (status.code != InfoCode::other) continue;
        for (std::string_view line : split(status.message, '\n'))
            text += indent + std::string(line) + "\n";
    }
    return text;
}

std::string cipher_lines(const InfoStanza& stanza) {
    const auto& repositories = stanza.repositories;
    const crypto::CipherType first = repositories.front().cipher;
    const bool same = std::all_of(repositories.begin(), repositories.end(),
                                  [&](const auto& other) { return other.cipher == first; });
    if (same) return "    cipher: " + std::string(crypto::cipher_type_name(first)) + "\n";
    std::string text = "    cipher: mixed\n";
    for (const InfoRepository& repository : repositories)
        text += "        repo" + std::to_string(repository.key) + ": " +
                std::string(crypto::cipher_type_name(repository.cipher)) + "\n";
    return text;
}

std::string progress_lines(const InfoStanza& stanza) {
    if (sum_backup_locks(stanza).held < 2) return "";
    std::string text;
    for (const InfoRepository& repository : stanza.repositories) {
        const std::string percent = percent_text(repository.backup_lock);
        if (repository.backup_lock.held && !percent.empty())
            text += "        repo" + std::to_string(repository.key) +
                    " backup: " + percent.substr(3) + "\n";
    }
    return text;
}

std::string reference_total(const std::vector<std::string>& references) {
    unsigned full = 0, diff = 0, incr = 0;
    for (const std::string& label : references) {
        if (label.ends_with('D'))
            ++diff;
        else if (label.ends_with('I'))
            ++incr;
        else
            ++full;
    }
    std::string text = std::to_string(full) + " full";
    if (diff > 0) text += ", " + std::to_string(diff) + " diff";
    if (incr > 0) text += ", " + std::to_string(incr) + " incr";
    return text;
}

/// What somebody has named, or written, on one line.
std::string shown(std::string_view text) {
    return printable(text, SIZE_MAX);
}

constexpr const char* kIndent = "            ";
constexpr const char* kDeepIndent = "                ";

std::string database_list(const repo::Manifest& manifest) {
    std::vector<std::string> names;
    for (const repo::ManifestDatabase& database : manifest.databases)
        if (database.name != "template0" && database.name != "template1")
            names.push_back(shown(database.name) + " (" + std::to_string(database.oid) + ")");
    return names.empty() ? "none" : join(names, ", ");
}

std::string manifest_lines(const InfoBackup& backup) {
    const repo::Manifest& manifest = *backup.manifest;
    std::string links, tablespaces;
    for (const repo::ManifestTarget& target : manifest.targets) {
        if (target.tablespace_oid != 0)
            tablespaces += kDeepIndent + shown(target.tablespace_name) + " (" +
                           std::to_string(target.tablespace_oid) + ") => " + shown(target.path) +
                           "\n";
        else if (target.is_link && !target.file.empty())
            links +=
                kDeepIndent + shown(target.file + " => " + target.path + "/" + target.file) + "\n";
        else if (target.is_link)
            links += kDeepIndent + shown(target.name.substr(8) + " => " + target.path) + "\n";
    }
    std::string text =
        kIndent + ("random access: " + repo::random_access_text(backup.random_access)) + "\n";
    text += kIndent + ("database list: " + database_list(manifest)) + "\n";
    if (!links.empty()) text += kIndent + ("symlinks:\n" + links);
    if (!tablespaces.empty()) text += kIndent + ("tablespaces:\n" + tablespaces);
    std::vector<std::string> errors;
    for (const repo::ManifestFile& file : manifest.files)
        if (file.page_error)
            errors.push_back(
                shown(file.name.view().substr(file.name.view().starts_with("pg_data/") ? 8 : 0)));
    if (!errors.empty()) text += kIndent + ("error list: " + join(errors, ", ")) + "\n";
    if (!backup.entry.annotations.empty()) {
        text += kIndent + std::string("annotation(s)\n");
        for (const auto& [key, value] : backup.entry.annotations)
            text += kDeepIndent + shown(key + ": " + value) + "\n";
    }
    return text;
}

std::string size_lines(const InfoBackup& backup) {
    const repo::BackupEntry& entry = backup.entry;
    std::string text = kIndent + ("database size: " + format_size(entry.size)) +
                       ", database backup size: " + format_size(entry.size_delta) + "\n";
    text += kIndent + ("repo" + std::to_string(backup.repo_key) + ": ");
    if (!entry.map_size) text += "backup set size: " + format_size(entry.repo_size) + ", ";
    return text + "backup size: " + format_size(entry.repo_size_delta) + "\n";
}

std::string backup_lines(const InfoBackup& backup) {
    const repo::BackupEntry& entry = backup.entry;
    std::string text = "\n        " + std::string(repo::backup_type_name(entry.type)) +
                       " backup: " + entry.label + "\n";
    text += kIndent + ("timestamp start/stop: " + format_local_time(entry.timestamp_start)) +
            " / " + format_local_time(entry.timestamp_stop) + "\n";
    const bool has_wal = !entry.archive_start.empty() && !entry.archive_stop.empty();
    text += kIndent + std::string("wal start/stop: ") +
            (has_wal ? entry.archive_start + " / " + entry.archive_stop : "n/a") + "\n";
    if (backup.manifest && entry.lsn_start && entry.lsn_stop)
        text += kIndent + ("lsn start/stop: " + entry.lsn_start->str()) + " / " +
                entry.lsn_stop->str() + "\n";
    text += size_lines(backup);
    if (entry.option_backup_standby) text += kIndent + std::string("copied from: a standby\n");
    if (!entry.references.empty())
        text += kIndent +
                (backup.manifest ? "backup reference list: " + join(entry.references, ", ")
                                 : "backup reference total: " + reference_total(entry.references)) +
                "\n";
    if (backup.manifest) return text + manifest_lines(backup);
    if (entry.error.value_or(false))
        text += kIndent + std::string("error(s) detected during backup\n");
    return text;
}

/// The databases of a stanza's history, one for all repositories that know the same cluster.
std::vector<repo::HistoryEntry> cluster_groups(const InfoStanza& stanza) {
    std::vector<repo::HistoryEntry> groups;
    for (const InfoDatabase& database : stanza.databases)
        if (std::none_of(groups.begin(), groups.end(),
                         [&](const auto& group) { return group.same_cluster(database.entry); }))
            groups.push_back(database.entry);
    return groups;
}

struct Group {
    std::string min, max, backups;
    bool empty() const { return min.empty() && backups.empty(); }
};

Group collect_group(const InfoStanza& stanza, const repo::HistoryEntry& cluster) {
    Group group;
    for (const InfoArchive& archive : stanza.archives) {
        if (!archive.database.same_cluster(cluster) || archive.min.empty()) continue;
        if (group.min.empty() || archive.min < group.min) group.min = archive.min;
        if (archive.max > group.max) group.max = archive.max;
    }
    for (const InfoBackup& backup : stanza.backups)
        for (const InfoDatabase& database : stanza.databases)
            if (database.repo_key == backup.repo_key &&
                database.entry.id == backup.entry.history_id &&
                database.entry.same_cluster(cluster))
                group.backups += backup_lines(backup);
    return group;
}

std::string group_lines(const InfoStanza& stanza, bool single_backup) {
    std::string text, current_text;
    for (const repo::HistoryEntry& cluster : cluster_groups(stanza)) {
        const Group group = collect_group(stanza, cluster);
        const bool current = stanza.current && stanza.current->same_cluster(cluster);
        if (!current && group.empty()) continue;
        std::string lines = "\n    db (" + std::string(current ? "current" : "prior") + ")\n";
        lines += "        wal archive min/max (" + shown(cluster.version) +
                 "): " + (group.min.empty() ? "none present" : group.min + "/" + group.max) + "\n";
        lines += group.backups;
        if (!current)
            text += lines;
        else if (!single_backup || !group.backups.empty() || stanza.backups.empty())
            current_text = lines;
    }
    return text + current_text;
}

std::string stanza_text(const InfoStanza& stanza, const InfoReport& report) {
    std::string text =
        "stanza: " + shown(stanza.name) + "\n    status: " + status_line(stanza) + "\n";
    if (listed_per_repository(stanza.status.code)) text += repository_lines(stanza);
    text += progress_lines(stanza);
    if (report.detail == InfoDetail::progress) return text;
    if (stanza.status.code != InfoCode::missing_stanza_path) text += cipher_lines(stanza);
    return text + group_lines(stanza, report.single_backup);
}

}  // namespace

std::string format_info_text(const ops::info::InfoReport& report) {
    if (report.stanzas.empty()) return "No stanzas exist in the repository.\n";
    std::string text;
    for (const InfoStanza& stanza : report.stanzas) {
        if (!text.empty()) text += "\n";
        text += stanza_text(stanza, report);
    }
    return text;
}

}  // namespace chronos::present
