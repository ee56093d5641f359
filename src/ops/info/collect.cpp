#include <algorithm>
#include <set>

#include "chronos/base/text.h"
#include "chronos/ops/info/info.h"
#include "chronos/repo/stanza.h"
#include "chronos/repo/wal_archive.h"

namespace chronos::ops::info {
namespace {

using repo::Repository;

/// What one repository says about one stanza.
struct StanzaData {
    InfoRepository repository;
    std::optional<repo::BackupInfo> backup_info;
    std::vector<InfoArchive> archives;
    std::optional<repo::Manifest> manifest;
};

InfoStatus status_of(InfoCode code) {
    return {code, std::string(info_code_message(code)), false};
}

InfoStatus status_of(const Error& error) {
    return {InfoCode::other,
            "[" + std::string(error_class_name(error.kind())) + "] " + error.text(),
            error.kind() == ErrorKind::crypto};
}

/// The first and the last stored segment of a directory; "" if it holds none.
Result<std::pair<std::string, std::string>> edge_segments(storage::Storage& storage,
                                                          const std::string& directory) {
    std::pair<std::string, std::string> edges;
    for (const storage::Entry& entry : CHRONOS_TRY(storage.list(directory))) {
        if (!repo::is_archived_segment(entry)) continue;
        edges.second = entry.name.substr(0, 24);
        if (edges.first.empty()) edges.first = edges.second;
    }
    return edges;
}

/// Only the outermost directories are listed: an archive can hold a million segments.
Result<> find_archive_edges(storage::Storage& storage, const std::string& directory,
                            InfoArchive& archive) {
    std::vector<std::string> parts;
    for (storage::Entry& entry : CHRONOS_TRY(storage.list(directory)))
        if (repo::is_wal_directory(entry.name)) parts.push_back(entry.name);
    for (auto part = parts.begin(); part != parts.end() && archive.min.empty(); ++part) {
        const auto edges = CHRONOS_TRY(edge_segments(storage, directory + "/" + *part));
        archive.min = edges.first;
        if (*part == parts.back()) archive.max = edges.second;
    }
    for (auto part = parts.rbegin(); part != parts.rend() && archive.max.empty(); ++part)
        archive.max = CHRONOS_TRY(edge_segments(storage, directory + "/" + *part)).second;
    return {};
}

Result<> collect_archives(const Repository& repository, const std::string& stanza,
                          StanzaData& data) {
    const repo::ArchiveInfo archive_info = CHRONOS_TRY(load_archive_info(repository, stanza));
    CHRONOS_TRY(repo::check_archive_ids(archive_info, *data.backup_info));
    for (const repo::HistoryEntry& entry : data.backup_info->history) {
        InfoArchive archive{repository.key, entry, entry.archive_id(), "", ""};
        CHRONOS_TRY(find_archive_edges(
            *repository.storage, repo::archive_path(stanza) + "/" + archive.archive_id, archive));
        if (!archive.max.empty() || entry.id == data.backup_info->history.back().id)
            data.archives.push_back(std::move(archive));
    }
    return {};
}

Result<InfoStatus> look_at_stanza(const Repository& repository, const InfoRequest& request,
                                  const std::string& stanza, StanzaData& data) {
    const auto without_info = [&](InfoStatus otherwise) -> Result<InfoStatus> {
        if (CHRONOS_TRY(storage::exists(*repository.storage, repo::backup_path(stanza))))
            return otherwise;
        return status_of(InfoCode::missing_stanza_path);
    };
    if (request.detail == InfoDetail::progress)
        return without_info(InfoStatus{InfoCode::ok, "ok", false});
    // What is there most of the time is looked for first.
    auto backup_info = load_backup_info(repository, stanza);
    if (!backup_info && backup_info.error().kind() == ErrorKind::not_found)
        return without_info(status_of(InfoCode::missing_stanza_data));
    if (!backup_info) return std::move(backup_info).error();
    data.backup_info = std::move(backup_info).value();
    CHRONOS_TRY(collect_archives(repository, stanza, data));
    return status_of(data.backup_info->backups.empty() ? InfoCode::no_valid_backups : InfoCode::ok);
}

StanzaData collect_stanza(const Repository& repository, const InfoRequest& request,
                          const std::string& stanza) {
    StanzaData data;
    data.repository.key = repository.key;
    data.repository.cipher = repository.cipher;
    auto status = look_at_stanza(repository, request, stanza, data);
    data.repository.status = status ? *status : status_of(status.error());
    return data;
}

repo::LockState lock_state(const InfoRequest& request, const std::string& stanza,
                           repo::LockType type, unsigned repo_key) {
    return repo::look_at_lock({request.lock_path, stanza, type, repo_key, ""});
}

void look_at_locks(const InfoRequest& request, std::vector<StanzaData>& all, InfoStanza& stanza) {
    for (StanzaData& data : all) {
        if (!data.backup_info && request.detail == InfoDetail::full) continue;
        const unsigned key = data.repository.key;
        data.repository.backup_lock = lock_state(request, stanza.name, repo::LockType::backup, key);
        if (!stanza.restore_lock.held)
            stanza.restore_lock = lock_state(request, stanza.name, repo::LockType::restore, key);
    }
}

/// The label that `set` stands for; "" if no repository has a backup to stand for it.
std::string resolve_set(const std::string& set, const std::vector<StanzaData>& all) {
    if (set != "latest" && set != "oldest") return set;
    std::string best;
    for (const StanzaData& data : all) {
        if (!data.backup_info || data.backup_info->backups.empty()) continue;
        const auto& backups = data.backup_info->backups;
        const std::string& label = set == "latest" ? backups.back().label : backups.front().label;
        if (best.empty() || (set == "latest" ? label > best : label < best)) best = label;
    }
    return best;
}

/// Loads the manifest of the requested backup wherever it exists. Where it is nowhere, every
/// repository that was fine so far reports that.
void load_set_manifests(const InfoRequest& request, const std::string& stanza,
                        const std::string& label, std::vector<StanzaData>& all) {
    bool found = false;
    for (std::size_t i = 0; i < all.size(); ++i) {
        StanzaData& data = all[i];
        if (!data.backup_info || data.repository.status.code == InfoCode::other) continue;
        if (!repo::is_backup_label(label)) continue;
        auto manifest = repo::load_manifest(request.repositories[i], stanza, label,
                                            data.backup_info->cipher_pass);
        if (manifest) {
            data.manifest = std::move(manifest).value();
            found = true;
        } else if (manifest.error().kind() != ErrorKind::not_found) {
            data.repository.status = status_of(manifest.error());
        }
    }
    if (found) return;
    for (StanzaData& data : all)
        if (data.repository.status.code == InfoCode::ok)
            data.repository.status = status_of(InfoCode::requested_backup_not_found);
}

/// What a repository says of a stanza counts only while it is fine: half of it would mislead.
void drop_data_of_failed(std::vector<StanzaData>& all) {
    for (StanzaData& data : all) {
        const InfoCode code = data.repository.status.code;
        if (code == InfoCode::ok || code == InfoCode::no_valid_backups) continue;
        data.backup_info.reset();
        data.archives.clear();
    }
}

/// Repositories of two clusters are the worse trouble: that is said even where one has none.
InfoStatus combined_status(const std::vector<StanzaData>& all) {
    const repo::HistoryEntry* current = nullptr;
    for (const StanzaData& data : all) {
        if (!data.backup_info) continue;
        if (current != nullptr && !current->same_cluster(data.backup_info->current()))
            return status_of(InfoCode::database_mismatch);
        current = &data.backup_info->current();
    }
    const InfoStatus& first = all.front().repository.status;
    for (const StanzaData& data : all)
        if (data.repository.status.code != first.code)
            return status_of(InfoCode::different_across_repos);
    return status_of(first.code);
}

/// Each repository's list is in order of label; the merged one takes what stopped first.
std::vector<InfoBackup> merge_backups(const std::vector<StanzaData>& all,
                                      const InfoRequest& request, const std::string& label) {
    std::vector<std::size_t> next(all.size(), 0);
    std::vector<InfoBackup> merged;
    for (;;) {
        const repo::BackupEntry* best = nullptr;
        std::size_t from = 0;
        for (std::size_t i = 0; i < all.size(); ++i) {
            if (!all[i].backup_info || next[i] == all[i].backup_info->backups.size()) continue;
            const repo::BackupEntry& candidate = all[i].backup_info->backups[next[i]];
            if (best != nullptr && candidate.timestamp_stop >= best->timestamp_stop) continue;
            best = &candidate;
            from = i;
        }
        if (best == nullptr) return merged;
        ++next[from];
        const bool wanted = (request.set.empty() || (best->label == label && all[from].manifest)) &&
                            (!request.type || best->type == *request.type);
        if (!wanted) continue;
        merged.push_back({all[from].repository.key, *best, all[from].manifest, {}});
        if (all[from].manifest)
            merged.back().random_access = repo::random_access(*all[from].manifest);
    }
}

InfoStanza collect_one(const InfoRequest& request, const std::string& name,
                       const std::vector<std::optional<Error>>& list_errors) {
    InfoStanza stanza;
    stanza.name = name;
    std::vector<StanzaData> all;
    for (std::size_t i = 0; i < request.repositories.size(); ++i) {
        all.push_back(list_errors[i] ? StanzaData{}
                                     : collect_stanza(request.repositories[i], request, name));
        all.back().repository.key = request.repositories[i].key;
        all.back().repository.cipher = request.repositories[i].cipher;
        if (list_errors[i]) all.back().repository.status = status_of(*list_errors[i]);
    }
    const std::string label = resolve_set(request.set, all);
    if (!request.set.empty()) load_set_manifests(request, name, label, all);
    look_at_locks(request, all, stanza);
    drop_data_of_failed(all);
    stanza.status = combined_status(all);
    stanza.backups = merge_backups(all, request, label);
    for (StanzaData& data : all) {
        if (data.backup_info) {
            if (!stanza.current) stanza.current = data.backup_info->current();
            for (const auto& entry : data.backup_info->history)
                stanza.databases.push_back({data.repository.key, entry});
        }
        std::move(data.archives.begin(), data.archives.end(), std::back_inserter(stanza.archives));
        stanza.repositories.push_back(std::move(data.repository));
    }
    return stanza;
}

Result<> check_request(const InfoRequest& request) {
    if (request.set.empty()) return {};
    if (request.stanza.empty())
        return Error(ErrorKind::option_invalid, "option 'set' not valid without option 'stanza'");
    if (request.detail == InfoDetail::progress)
        return Error(ErrorKind::option_invalid,
                     "option 'set' cannot be used with option 'detail-level' = 'progress'");
    return {};
}

}  // namespace

Result<> info_outcome(const InfoReport& report) {
    const InfoRepository* closed = nullptr;
    for (const InfoStanza& stanza : report.stanzas)
        for (const InfoRepository& repository : stanza.repositories) {
            if (!repository.status.closed) return {};
            closed = &repository;
        }
    if (closed == nullptr) return {};
    return Error(ErrorKind::crypto, "no repository can be opened, the last: repo" +
                                        std::to_string(closed->key) + ": " +
                                        closed->status.message);
}

std::string_view info_code_message(InfoCode code) {
    switch (code) {
        case InfoCode::ok: return "ok";
        case InfoCode::missing_stanza_path: return "missing stanza path";
        case InfoCode::no_valid_backups: return "no valid backups";
        case InfoCode::missing_stanza_data: return "missing stanza data";
        case InfoCode::different_across_repos: return "different across repos";
        case InfoCode::database_mismatch: return "database mismatch across repos";
        case InfoCode::requested_backup_not_found: return "requested backup not found";
        case InfoCode::other: return "other";
    }
    return "other";
}

Result<InfoReport> collect_info(const InfoRequest& request) {
    CHRONOS_TRY(check_request(request));
    InfoReport report;
    report.detail = request.detail;
    report.single_backup = !request.set.empty();
    std::set<std::string> names;
    std::vector<std::optional<Error>> list_errors(request.repositories.size());
    bool failed = false;
    for (std::size_t i = 0; i < request.repositories.size(); ++i) {
        storage::Storage& storage = *request.repositories[i].storage;
        // A round trip that tells nothing where the name is known.
        if (!request.stanza.empty() && storage.features().remote) continue;
        auto entries = storage.list("backup");
        if (!entries) {
            list_errors[i] = std::move(entries).error();
            failed = true;
            continue;
        }
        for (const storage::Entry& entry : *entries)
            if (entry.type == storage::EntryType::path) names.insert(entry.name);
    }
    if (!request.stanza.empty()) names = {request.stanza};
    if (names.empty() && failed) names = {"[invalid]"};
    for (const std::string& name : names)
        report.stanzas.push_back(collect_one(request, name, list_errors));
    return report;
}

}  // namespace chronos::ops::info
