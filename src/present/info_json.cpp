#include <nlohmann/json.hpp>

#include "chronos/present/info_output.h"
#include "chronos/present/json_text.h"
#include "chronos/present/random_access_json.h"

namespace chronos::present {
namespace {

using ops::info::InfoArchive;
using ops::info::InfoBackup;
using ops::info::InfoDatabase;
using ops::info::InfoDetail;
using ops::info::InfoReport;
using ops::info::InfoRepository;
using ops::info::InfoStanza;
using ops::info::InfoStatus;

using nlohmann::json;

/// The keys of nlohmann's objects are sorted, as the format wants them.
json status_object(const InfoStatus& status) {
    return {{"code", static_cast<int>(status.code)}, {"message", status.message}};
}

json database_reference(std::uint64_t id, unsigned repo_key) {
    return {{"id", id}, {"repo-key", repo_key}};
}

json archive_object(const InfoArchive& archive) {
    return {{"database", database_reference(archive.database.id, archive.repo_key)},
            {"id", archive.archive_id},
            {"max", text_or_null(archive.max)},
            {"min", text_or_null(archive.min)}};
}

json sizes_object(const repo::BackupEntry& entry) {
    json repository{{"delta", entry.repo_size_delta}};
    if (entry.map_size) {
        repository["delta-map"] = entry.map_size_delta.value_or(0);
        repository["size-map"] = *entry.map_size;
    } else {
        // Block maps point into older backups, so what a set needs of them is not known.
        repository["size"] = entry.repo_size;
    }
    return {{"delta", entry.size_delta}, {"repository", repository}, {"size", entry.size}};
}

json links_of(const repo::Manifest& manifest) {
    json links = json::array();
    for (const repo::ManifestTarget& target : manifest.targets) {
        if (!target.is_link || target.tablespace_oid != 0) continue;
        const bool file = !target.file.empty();
        links.push_back({{"destination", file ? target.path + "/" + target.file : target.path},
                         {"name", file ? target.file : target.name.substr(8)}});
    }
    return links.empty() ? json(nullptr) : links;
}

json tablespaces_of(const repo::Manifest& manifest) {
    json tablespaces = json::array();
    for (const repo::ManifestTarget& target : manifest.targets)
        if (target.tablespace_oid != 0)
            tablespaces.push_back({{"destination", target.path},
                                   {"name", target.tablespace_name},
                                   {"oid", target.tablespace_oid}});
    return tablespaces.empty() ? json(nullptr) : tablespaces;
}

void add_manifest_members(const repo::Manifest& manifest, json& backup) {
    json databases = json::array();
    for (const repo::ManifestDatabase& database : manifest.databases)
        if (database.name != "template0" && database.name != "template1")
            databases.push_back({{"name", database.name}, {"oid", database.oid}});
    backup["database-ref"] = databases;
    backup["link"] = links_of(manifest);
    backup["tablespace"] = tablespaces_of(manifest);
    json errors = json::array();
    for (const repo::ManifestFile& file : manifest.files)
        if (file.page_error)
            errors.push_back(
                file.name.str().substr(file.name.view().starts_with("pg_data/") ? 8 : 0));
    if (!errors.empty()) backup["error-list"] = errors;
}

json backup_object(const InfoBackup& backup) {
    const repo::BackupEntry& entry = backup.entry;
    json object{
        {"archive",
         {{"start", text_or_null(entry.archive_start)},
          {"stop", text_or_null(entry.archive_stop)}}},
        {"backrest", {{"format", repo::kFormatNumber}, {"version", entry.backrest_version}}},
        {"database", database_reference(entry.history_id, backup.repo_key)},
        {"info", sizes_object(entry)},
        {"label", entry.label},
        {"prior", text_or_null(entry.prior)},
        {"reference", entry.references.empty() ? json(nullptr) : json(entry.references)},
        {"timestamp", {{"start", entry.timestamp_start}, {"stop", entry.timestamp_stop}}},
        {"type", repo::backup_type_name(entry.type)}};
    if (!entry.annotations.empty()) object["annotation"] = entry.annotations;
    if (entry.error) object["error"] = *entry.error;
    if (entry.option_backup_standby) object["standby"] = true;
    if (entry.lsn_start && entry.lsn_stop)
        object["lsn"] = {{"start", entry.lsn_start->str()}, {"stop", entry.lsn_stop->str()}};
    if (!backup.manifest) return object;
    add_manifest_members(*backup.manifest, object);
    object["random-access"] = random_access_object(backup.random_access);
    return object;
}

void add_progress(const repo::LockState& state, json& lock) {
    if (state.size_bytes) lock["size"] = *state.size_bytes;
    if (state.size_complete_bytes) lock["size-cplt"] = *state.size_complete_bytes;
}

json backup_lock_object(const InfoStanza& stanza) {
    json lock{{"held", false}};
    repo::LockState sum;
    for (const InfoRepository& repository : stanza.repositories) {
        const repo::LockState& state = repository.backup_lock;
        if (!state.held) continue;
        lock["held"] = true;
        if (!state.size_bytes || !state.size_complete_bytes) continue;
        json item{{"key", repository.key}};
        add_progress(state, item);
        lock["repo"].push_back(item);
        sum.size_bytes = sum.size_bytes.value_or(0) + *state.size_bytes;
        sum.size_complete_bytes = sum.size_complete_bytes.value_or(0) + *state.size_complete_bytes;
    }
    add_progress(sum, lock);
    return lock;
}

json stanza_status(const InfoStanza& stanza) {
    json status = status_object(stanza.status);
    json restore{{"held", stanza.restore_lock.held}};
    if (stanza.restore_lock.held) add_progress(stanza.restore_lock, restore);
    status["lock"] = {{"backup", backup_lock_object(stanza)}, {"restore", restore}};
    return status;
}

std::string stanza_cipher(const InfoStanza& stanza) {
    for (const InfoRepository& repository : stanza.repositories)
        if (repository.cipher != stanza.repositories.front().cipher) return "mixed";
    return std::string(crypto::cipher_type_name(stanza.repositories.front().cipher));
}

json stanza_object(const InfoStanza& stanza) {
    json archives = json::array(), backups = json::array(), databases = json::array(),
         repositories = json::array();
    for (const InfoArchive& archive : stanza.archives) archives.push_back(archive_object(archive));
    for (const InfoBackup& backup : stanza.backups) backups.push_back(backup_object(backup));
    for (const InfoDatabase& database : stanza.databases)
        databases.push_back({{"id", database.entry.id},
                             {"repo-key", database.repo_key},
                             {"system-id", database.entry.system_id},
                             {"version", database.entry.version}});
    for (const InfoRepository& repository : stanza.repositories)
        repositories.push_back({{"cipher", crypto::cipher_type_name(repository.cipher)},
                                {"key", repository.key},
                                {"status", status_object(repository.status)}});
    return {{"archive", archives},
            {"backup", backups},
            {"cipher", stanza_cipher(stanza)},
            {"db", databases},
            {"name", stanza.name},
            {"repo", repositories},
            {"status", stanza_status(stanza)}};
}

}  // namespace

std::string format_info_json(const ops::info::InfoReport& report) {
    json list = json::array();
    for (const InfoStanza& stanza : report.stanzas) {
        if (report.detail == InfoDetail::progress)
            list.push_back(json{{"name", stanza.name}, {"status", stanza_status(stanza)}});
        else
            list.push_back(stanza_object(stanza));
    }
    // Names on a file system need not be UTF-8, and a report must not fail on one.
    return text_of(list);
}

}  // namespace chronos::present
