#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "chronos/base/clock.h"
#include "chronos/base/lsn.h"
#include "chronos/base/result.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/repository.h"

namespace chronos::repo {

/// One database of a stanza's history: the cluster before and after each upgrade.
struct HistoryEntry {
    std::uint64_t id = 0;  ///< the number in "15-1"
    std::uint64_t system_id = 0;
    std::string version;                ///< "15"
    std::uint32_t catalog_version = 0;  ///< backup.info only
    std::uint32_t control_version = 0;  ///< backup.info only

    std::string archive_id() const { return version + "-" + std::to_string(id); }
    /// Same cluster: version and system id agree.
    bool same_cluster(const HistoryEntry& other) const {
        return version == other.version && system_id == other.system_id;
    }
    bool operator==(const HistoryEntry&) const = default;
};

/// archive.info. Source: docs/format/info-files.md, archive.info.
struct ArchiveInfo {
    std::string backrest_version;
    std::uint64_t current_id = 0;
    std::vector<HistoryEntry> history;  ///< ascending id
    std::string cipher_pass;            ///< of the archive; "" when not encrypted

    const HistoryEntry& current() const;
    bool operator==(const ArchiveInfo&) const = default;
};

/// An entry of [backup:current]. Source: docs/format/info-files.md, Entries of backup.info.
struct BackupEntry {
    std::string label;
    std::string backrest_version;
    std::map<std::string, std::string> annotations;
    std::string archive_start;  ///< "" for null (offline)
    std::string archive_stop;
    std::optional<bool> error;  ///< absent in entries of old versions
    std::uint64_t size = 0, size_delta = 0;
    std::uint64_t repo_size = 0, repo_size_delta = 0;
    std::optional<std::uint64_t> map_size, map_size_delta;
    std::optional<Lsn> lsn_start, lsn_stop;
    std::string prior;
    std::vector<std::string> references;
    UnixTime timestamp_start = 0;
    UnixTime timestamp_stop = 0;
    BackupType type = BackupType::full;
    std::uint64_t history_id = 0;
    bool option_archive_check = false, option_archive_copy = false, option_backup_standby = false,
         option_checksum_page = false, option_compress = false, option_hardlink = false,
         option_online = false;
    bool operator==(const BackupEntry&) const = default;
};

/// What backup.info says of a backup, computed from its manifest.
BackupEntry backup_entry_of(const Manifest& manifest);

/// backup.info. Source: docs/format/info-files.md, backup.info.
struct BackupInfo {
    std::string backrest_version;
    std::uint64_t current_id = 0;
    std::vector<HistoryEntry> history;  ///< ascending id
    std::vector<BackupEntry> backups;   ///< ascending label
    std::string cipher_pass;            ///< of the backups; "" when not encrypted

    const HistoryEntry& current() const;
    const BackupEntry* find(std::string_view label) const;
    bool operator==(const BackupInfo&) const = default;
};

Result<ArchiveInfo> parse_archive_info(std::string_view text);
std::string format_archive_info(const ArchiveInfo& info);
Result<BackupInfo> parse_backup_info(std::string_view text);
std::string format_backup_info(const BackupInfo& info);

/// Main file first, then ".copy"; the error of both when neither loads, with pgBackRest's text
/// and kind (docs/format/info-files.md, Copies) and its hints. A wrong, missing or superfluous
/// passphrase is told apart from damage and named as such.
Result<ArchiveInfo> load_archive_info(const Repository& repository, const std::string& stanza);
Result<BackupInfo> load_backup_info(const Repository& repository, const std::string& stanza);
/// Both files of the pair, atomically one after the other, main first.
Result<> save_archive_info(const Repository& repository, const std::string& stanza,
                           const ArchiveInfo& info);
Result<> save_backup_info(const Repository& repository, const std::string& stanza,
                          const BackupInfo& info);

/// load_backup_info() reconciled with the directory, as backup, expire and annotate see it:
/// entries without a manifest are dropped with their dependents, complete backups that are not
/// listed are added; each with a warning. `changed` tells whether the file should be rewritten.
struct ReconstructedInfo {
    BackupInfo info;
    bool changed = false;
    std::vector<std::string> labels;   ///< of directories, complete or not; ascending
    std::set<std::string> complete;    ///< those that have a manifest
    std::vector<std::string> dropped;  ///< listed until now; ascending
};
Result<ReconstructedInfo> load_backup_info_reconstructed(const Repository& repository,
                                                         const std::string& stanza);

/// The names in backup/<stanza> that are labels, complete backup or not; ascending.
Result<std::vector<std::string>> list_backup_labels(const Repository& repository,
                                                    const std::string& stanza);

/// Those of the labels whose backup is complete: it has a manifest. Asks for many at once where
/// each question is a round trip.
Result<std::set<std::string>> find_complete_backups(const Repository& repository,
                                                    const std::string& stanza,
                                                    const std::vector<std::string>& labels);

/// A manifest by label: main file, then ".copy". `backup_pass` is BackupInfo::cipher_pass.
Result<Manifest> load_manifest(const Repository& repository, const std::string& stanza,
                               const std::string& label, const std::string& backup_pass);
/// backup.manifest.copy alone: what an unfinished backup shows. `text` is format_manifest()'s.
Result<> save_manifest_copy(const Repository& repository, const std::string& stanza,
                            const std::string& label, std::string_view text,
                            const std::string& backup_pass);
/// The copy and then, with the same bytes, backup.manifest, whose appearance makes the backup a
/// complete one: everything it names must be durable by then.
Result<> save_manifest(const Repository& repository, const std::string& stanza,
                       const std::string& label, std::string_view text,
                       const std::string& backup_pass);
/// backup.history/<year>/<label>.manifest.gz, which outlives the backup.
Result<> save_history_manifest(const Repository& repository, const std::string& stanza,
                               const std::string& label, std::string_view text,
                               const std::string& backup_pass);

/// Whether annotations may have this key: the format writes keys without escapes, so that a quote,
/// a backslash or a control character would damage backup.info, and pgBackRest's limit is 66
/// bytes. Kind option_invalid_value.
Result<> check_annotation_key(std::string_view key);

}  // namespace chronos::repo
