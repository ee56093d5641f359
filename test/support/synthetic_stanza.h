#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "chronos/repo/info.h"
#include "chronos/repo/repository.h"
#include "result_matchers.h"

namespace chronos::test {

/// The stanza "main" of two clusters (15-1 and, when `upgraded`, 16-2) with as many backups and
/// WAL segments as a test likes: info files and manifests as the format has them, one file of data
/// a backup. Everything is durable.
class SyntheticStanza {
public:
    explicit SyntheticStanza(std::shared_ptr<storage::Storage> storage,
                             const std::string& passphrase = "", std::string stanza = "main")
        : stanza_(std::move(stanza)) {
        repository_.storage = std::move(storage);
        if (!passphrase.empty()) {
            repository_.cipher = crypto::CipherType::aes_256_cbc;
            repository_.passphrase = passphrase;
            backup_.cipher_pass = "backup pass";
            archive_.cipher_pass = "archive pass";
        }
        backup_.backrest_version = archive_.backrest_version = repo::kFormatVersion;
        add_cluster("15");
    }

    const std::string& stanza() const { return stanza_; }
    const repo::Repository& repository() const { return repository_; }
    /// The same repository through another storage.
    repo::Repository through(std::shared_ptr<storage::Storage> storage) const {
        repo::Repository other = repository_;
        other.storage = std::move(storage);
        return other;
    }
    repo::BackupInfo& backup_info() { return backup_; }
    repo::ArchiveInfo& archive_info() { return archive_; }
    const repo::HistoryEntry& cluster() const { return archive_.history.back(); }
    const std::vector<repo::BackupEntry>& backups() const { return backup_.backups; }

    void add_cluster(const std::string& version) {
        repo::HistoryEntry entry;
        entry.id = backup_.history.size() + 1;
        entry.system_id = 7710000000000000000 + entry.id;
        entry.version = version;
        archive_.history.push_back(entry);
        entry.catalog_version = 202209061;
        entry.control_version = 1300;
        backup_.history.push_back(entry);
        backup_.current_id = archive_.current_id = entry.id;
    }

    /// "20260101-000001F" or "20260101-000001F_20260102-000001D", needing WAL from `start` to
    /// `stop` of timeline 1 (none if both are 0); a diff's or incr's prior is named.
    repo::BackupEntry& add(const std::string& label, unsigned start, unsigned stop,
                           const std::string& prior = "", UnixTime time = 0) {
        repo::BackupEntry entry;
        entry.label = label;
        entry.backrest_version = repo::kFormatVersion;
        entry.type = label.ends_with('F')   ? repo::BackupType::full
                     : label.ends_with('D') ? repo::BackupType::diff
                                            : repo::BackupType::incr;
        entry.prior = prior;
        if (const repo::BackupEntry* base = backup_.find(prior)) {
            entry.references = base->references;
            entry.references.push_back(prior);
        }
        if (stop != 0) {
            entry.archive_start = segment(start);
            entry.archive_stop = segment(stop);
            entry.option_online = true;
        }
        entry.timestamp_start = entry.timestamp_stop = time;
        entry.history_id = backup_.current_id;
        entry.error = false;
        backup_.backups.push_back(entry);
        return backup_.backups.back();
    }

    static std::string segment(unsigned number, unsigned timeline = 1) {
        char name[25];
        std::snprintf(name, sizeof name, "%08X%08X%08X", timeline, number / 256, number % 256);
        return name;
    }
    void add_segment(const std::string& segment, unsigned history_id = 1) {
        write("archive/" + stanza_ + "/" + archive_.history[history_id - 1].archive_id() + "/" +
                  segment.substr(0, 16) + "/" + segment +
                  "-0000000000000000000000000000000000000000.gz",
              "wal");
    }
    void add_segments(unsigned first, unsigned last, unsigned history_id = 1) {
        for (unsigned number = first; number <= last; ++number)
            add_segment(segment(number), history_id);
    }
    void write(const std::string& name, std::string_view content) {
        ASSERT_OK(storage::write_object(*repository_.storage, name, content));
    }

    /// Writes info files, manifests and data of all that was added.
    void save() {
        ASSERT_OK(repo::save_archive_info(repository_, stanza_, archive_));
        ASSERT_OK(repo::save_backup_info(repository_, stanza_, backup_));
        for (const repo::BackupEntry& entry : backup_.backups) {
            const std::string text = repo::format_manifest(manifest_of(entry));
            write(data_of(entry.label), "data");
            ASSERT_OK(
                repo::save_manifest(repository_, stanza_, entry.label, text, backup_.cipher_pass));
            ASSERT_OK(repo::save_history_manifest(repository_, stanza_, entry.label, text,
                                                  backup_.cipher_pass));
        }
    }
    std::string data_of(const std::string& label) const {
        return repo::backup_path(stanza_, label) + "/pg_data/PG_VERSION";
    }
    repo::Manifest manifest_of(const repo::BackupEntry& entry) const {
        const repo::HistoryEntry& cluster = backup_.history[entry.history_id - 1];
        repo::Manifest manifest;
        manifest.backrest_version = repo::kFormatVersion;
        manifest.label = entry.label;
        manifest.type = entry.type;
        manifest.prior = entry.prior;
        manifest.references = entry.references;
        manifest.references.push_back(entry.label);
        manifest.timestamp_start = entry.timestamp_start;
        manifest.timestamp_copy_start = manifest.timestamp_stop = entry.timestamp_stop;
        manifest.archive_start = entry.archive_start;
        manifest.archive_stop = entry.archive_stop;
        manifest.catalog_version = cluster.catalog_version;
        manifest.control_version = cluster.control_version;
        manifest.history_id = cluster.id;
        manifest.system_id = cluster.system_id;
        manifest.pg_version = cluster.version;
        manifest.options.online = entry.option_online;
        if (repository_.encrypted()) manifest.cipher_pass = "set pass";
        manifest.defaults.user = manifest.defaults.group = "postgres";
        manifest.targets.push_back({"pg_data", false, "/pg", "", 0, ""});
        manifest.paths.push_back({"pg_data", 0700, "postgres", "postgres"});
        manifest.files.push_back(file_of(entry));
        return manifest;
    }

private:
    static repo::ManifestFile file_of(const repo::BackupEntry& entry) {
        repo::ManifestFile file;
        file.name = "pg_data/PG_VERSION";
        file.size = file.size_original = file.repo_size = 4;
        file.checksum = "a17c9aaa61e80a1bf71d0d850af4e5baa9800bbd";  // of "data"
        file.timestamp = entry.timestamp_start;
        file.user = file.group = "postgres";
        return file;
    }

    std::string stanza_;
    repo::Repository repository_;
    repo::BackupInfo backup_;
    repo::ArchiveInfo archive_;
};

/// Name => content of every object.
inline std::map<std::string, std::string> content_of(storage::Storage& storage) {
    std::map<std::string, std::string> content;
    const auto entries = storage.list_tree("");
    if (!entries) return content;
    for (const storage::Entry& entry : *entries) {
        const auto text = storage::read_object(storage, entry.name);
        content[entry.name] = text ? *text : "";
    }
    return content;
}

}  // namespace chronos::test
