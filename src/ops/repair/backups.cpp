#include "ops/repair/backups.h"

#include <algorithm>

#include "chronos/base/text.h"
#include "chronos/compress/compress.h"
#include "chronos/repo/manifest_store.h"

#include "chronos/storage/move.h"

namespace chronos::ops::repair {
namespace {

using repo::BackupEntry;
using repo::Manifest;

/// One place in which the manifest of a backup may stand.
struct Source {
    enum class As { good, missing, unusable } as = As::missing;
    std::string why;
    std::string text_sha1;
    std::optional<Manifest> manifest;
};

bool is_about_content(const Error& error) {
    switch (error.kind()) {
        case ErrorKind::format:
        case ErrorKind::checksum:
        case ErrorKind::json_format:
        case ErrorKind::crypto:
        case ErrorKind::version_not_supported: return true;
        default: return false;
    }
}

/// That it is a whole one, and of this backup.
Result<> check(const Manifest& manifest, const std::string& label) {
    if (manifest.label != label)
        return Error(ErrorKind::format, "it is the manifest of backup '" + manifest.label + "'");
    // Known when a backup ends: what is written before that has none.
    if (manifest.history_id == 0) return Error(ErrorKind::format, "it is that of a backup's start");
    return repo::validate_manifest(manifest);
}

Result<Source> judged(Result<Manifest> manifest, const std::string& label, std::string text_sha1) {
    Source source;
    if (!manifest && manifest.error().kind() == ErrorKind::not_found) return source;
    if (!manifest && !is_about_content(manifest.error())) return std::move(manifest).error();
    Result<> good = manifest ? check(*manifest, label) : Result<>(manifest.error());
    source.as = good ? Source::As::good : Source::As::unusable;
    source.text_sha1 = std::move(text_sha1);
    if (good)
        source.manifest = std::move(*manifest);
    else
        source.why = printable(good.error().message(), 300);
    return source;
}

class Reader {
public:
    explicit Reader(const BackupsRequest& request) : place_(request.place), pass_(request.pass) {}

    Result<Source> main_or_copy(const std::string& label, const char* name) const {
        const std::string object = repo::backup_path(place_.stanza, label) + "/" + name;
        if (std::string other = CHRONOS_TRY(what_is_in_the_way(place_, object)); !other.empty())
            return Source{Source::As::unusable, std::move(other), "", {}};
        std::string sha1;
        auto manifest = repo::read_manifest_file(place_.repository, object, pass_, &sha1);
        return judged(std::move(manifest), label, std::move(sha1));
    }
    Result<Source> history(const std::string& label) const {
        return judged(repo::load_history_manifest(place_.repository, place_.stanza, label, pass_),
                      label, "");
    }

private:
    const Place& place_;
    const std::string& pass_;
};

void take(Source source, FoundBackup& backup) {
    const Manifest& manifest = *source.manifest;
    backup.entry = repo::backup_entry_of(manifest);
    backup.cluster =
        repo::HistoryEntry{manifest.history_id, manifest.system_id, manifest.pg_version,
                           manifest.catalog_version, manifest.control_version};
}

/// Writes both files of a manifest from one of its places, which is read again: in memory there is
/// never more than one.
void add_mending(const BackupsRequest& request, const std::string& label, const std::string& wrong,
                 const char* from, const std::vector<std::string>& damaged, Plan& plan) {
    const Place& place = request.place;
    const std::string directory = repo::backup_path(place.stanza, label);
    const std::string source = from;
    const std::string pass = request.pass;
    plan.add(
        Plan::Stage::manifests,
        {directory + "/backup.manifest", wrong, "written anew from " + source},
        [&place, label, pass, source, directory, damaged]() -> Result<> {
            for (const std::string& name : damaged)
                CHRONOS_TRY(keep_aside(place, directory + "/" + name));
            const Manifest manifest = CHRONOS_TRY(
                source == "backup.history"
                    ? repo::load_history_manifest(place.repository, place.stanza, label, pass)
                    : repo::read_manifest_file(place.repository, directory + "/" + source, pass));
            return repo::save_manifest(place.repository, place.stanza, manifest, pass);
        });
}

/// Reads what there is of one backup.
Result<FoundBackup> find_backup(const BackupsRequest& request, const std::string& label,
                                const std::set<std::string>& needed, Plan& plan) {
    const Reader reader(request);
    FoundBackup backup{label, {}, {}, "", false};
    Source main = CHRONOS_TRY(reader.main_or_copy(label, "backup.manifest"));
    Source copy = CHRONOS_TRY(reader.main_or_copy(label, "backup.manifest.copy"));
    const bool main_good = main.as == Source::As::good;
    if (main_good && copy.as == Source::As::good && main.text_sha1 == copy.text_sha1) {
        take(std::move(main), backup);
        return backup;
    }
    std::vector<std::string> damaged;
    const auto wrong_of = [](const Source& source) {
        return source.as == Source::As::missing ? std::string("is missing")
                                                : "cannot be used: " + source.why;
    };
    if (main.as == Source::As::unusable) damaged.emplace_back("backup.manifest");
    if (copy.as == Source::As::unusable) damaged.emplace_back("backup.manifest.copy");
    if (main_good) {
        const std::string wrong =
            copy.as == Source::As::good ? "says something else" : wrong_of(copy);
        add_mending(request, label, "its copy " + wrong, "backup.manifest", damaged, plan);
        take(std::move(main), backup);
        return backup;
    }
    // Before anybody relies on it again: is there what it lists?
    const auto usable = [&](const Source& source) -> Result<bool> {
        if (source.as != Source::As::good) return false;
        const Result<> stored =
            repo::prove_stored(request.place.repository, request.place.stanza, *source.manifest);
        if (!stored && stored.error().kind() != ErrorKind::repo_invalid) return stored.error();
        return static_cast<bool>(stored);
    };
    if (CHRONOS_TRY(usable(copy))) {
        add_mending(request, label, wrong_of(main), "backup.manifest.copy", damaged, plan);
        take(std::move(copy), backup);
        return backup;
    }
    // A removal begins with the manifest: without a trace of one it is not brought back, unless
    // somebody counts on it.
    if (main.as == Source::As::unusable || copy.as == Source::As::unusable ||
        needed.contains(label)) {
        Source history = CHRONOS_TRY(reader.history(label));
        if (CHRONOS_TRY(usable(history))) {
            add_mending(request, label, wrong_of(main), "backup.history", damaged, plan);
            take(std::move(history), backup);
            return backup;
        }
    }
    backup.unfinished = main.as == Source::As::missing;
    backup.wrong = "has no manifest that can be used: it " + wrong_of(main);
    return backup;
}

class Judge {
public:
    Judge(const BackupsRequest& request, const std::map<std::string, FoundBackup>& found,
          const Clusters& clusters, Plan& plan)
        : request_(request), found_(found), clusters_(clusters), plan_(plan) {
        for (const auto& [label, backup] : found_) {
            if (!backup.entry ||
                (!is_of(clusters_.listing, backup) && !is_of(clusters_.archive, backup)))
                continue;
            if (!backup.entry->prior.empty()) needed_.insert(backup.entry->prior);
            for (const std::string& one : backup.entry->references) needed_.insert(one);
        }
    }

    Remaining run() {
        for (const auto& [label, backup] : found_) judge(backup);
        if (request_.listed != nullptr)
            for (const BackupEntry& listed : request_.listed->backups)
                if (!found_.contains(listed.label)) remaining_.dropped.push_back(listed.label);
        return std::move(remaining_);
    }

private:
    static bool is_of(const std::vector<repo::HistoryEntry>& history, const FoundBackup& backup) {
        return std::ranges::any_of(history, [&](const repo::HistoryEntry& entry) {
            return entry.id == backup.cluster->id && entry.same_cluster(*backup.cluster);
        });
    }
    const BackupEntry* listed(const std::string& label) const {
        return request_.listed == nullptr ? nullptr : request_.listed->find(label);
    }
    /// A backup that this one takes files from, of which there is nothing any more.
    std::string lost_base(const BackupEntry& entry) const {
        if (!entry.prior.empty() && !is_there(entry.prior)) return entry.prior;
        for (const std::string& label : entry.references)
            if (!is_there(label)) return label;
        return "";
    }
    bool is_there(const std::string& label) const {
        return found_.contains(label) && !gone_.contains(label);
    }

    // Ascending labels: a backup comes after everything that it rests on.
    void judge(const FoundBackup& backup) {
        if (!backup.entry) return judge_unusable(backup);
        if (!is_of(clusters_.listing, backup) && is_of(clusters_.archive, backup))
            return leave(backup.label);
        if (!is_of(clusters_.listing, backup))
            return set_aside(backup.label, "is of cluster " + backup.cluster->archive_id() +
                                               " with system identifier " +
                                               std::to_string(backup.cluster->system_id) +
                                               ", which is not in the history of the stanza");
        if (const std::string base = lost_base(*backup.entry); !base.empty())
            return set_aside(backup.label, "rests on backup " + base + ", which is lost");
        keep(*backup.entry);
    }

    /// Which of the info files is wrong is not known here: it may be the one that lists backups.
    void leave(const std::string& label) {
        if (const BackupEntry* entry = listed(label)) remaining_.entries.push_back(*entry);
        plan_.cannot({repo::backup_path(request_.place.stanza, label),
                      "is of a cluster that archive.info knows and backup.info does not",
                      "left where it is, and can be used once the right one of the two is back",
                      State::cannot});
    }

    void keep(const BackupEntry& actual) {
        const BackupEntry* entry = listed(actual.label);
        if (entry == nullptr) remaining_.added.push_back(actual.label);
        if (entry == nullptr) return remaining_.entries.push_back(actual);
        if (repo::entry_difference(*entry, actual).empty())
            return remaining_.entries.push_back(*entry);
        remaining_.corrected.push_back(actual.label);
        BackupEntry right = actual;
        right.annotations = entry->annotations;  // changed in backup.info alone
        remaining_.entries.push_back(std::move(right));
    }

    void judge_unusable(const FoundBackup& backup) {
        const std::string directory = repo::backup_path(request_.place.stanza, backup.label);
        const BackupEntry* entry = listed(backup.label);
        if (needed_.contains(backup.label)) {
            if (entry != nullptr) remaining_.entries.push_back(*entry);
            return plan_.cannot({directory, backup.wrong,
                                 "left where it is, because files of later backups are in it: "
                                 "restore or hold those, and take a full backup",
                                 State::cannot});
        }
        // The newest may be one that runs on another host, and is resumed or removed by the next.
        if (backup.unfinished && entry == nullptr && backup.label == found_.rbegin()->first) return;
        set_aside(backup.label, backup.wrong);
    }

    void set_aside(const std::string& label, const std::string& wrong) {
        const Place& place = request_.place;
        const std::string directory = repo::backup_path(place.stanza, label);
        if (listed(label) != nullptr) remaining_.dropped.push_back(label);
        gone_.insert(label);
        plan_.add(
            Plan::Stage::asides, {directory, wrong, "moved to " + place.aside_name(directory)},
            [&place, directory]() -> Result<> {
                return storage::move_tree(place.storage, directory, place.aside_name(directory));
            });
    }

    const BackupsRequest& request_;
    const std::map<std::string, FoundBackup>& found_;
    const Clusters& clusters_;
    Plan& plan_;
    std::set<std::string> needed_;  ///< backups that usable ones rest on
    std::set<std::string> gone_;    ///< set aside
    Remaining remaining_;
};

}  // namespace

Result<std::map<std::string, FoundBackup>> find_backups(const BackupsRequest& request, Plan& plan) {
    const std::vector<std::string> labels =
        CHRONOS_TRY(repo::list_backup_labels(request.place.repository, request.place.stanza));
    std::map<std::string, FoundBackup> found;
    std::set<std::string> needed;
    if (request.listed != nullptr)
        for (const BackupEntry& entry : request.listed->backups) needed.insert(entry.label);
    // Newest first: then it is known of each whether a later one rests on it.
    for (auto label = labels.rbegin(); label != labels.rend(); ++label) {
        CHRONOS_TRY(request.cancel.check());
        FoundBackup backup = CHRONOS_TRY(find_backup(request, *label, needed, plan));
        if (backup.entry) {
            if (!backup.entry->prior.empty()) needed.insert(backup.entry->prior);
            for (const std::string& one : backup.entry->references) needed.insert(one);
        }
        found.emplace(*label, std::move(backup));
    }
    return found;
}

Remaining judge_backups(const BackupsRequest& request,
                        const std::map<std::string, FoundBackup>& found, const Clusters& clusters,
                        Plan& plan) {
    return Judge(request, found, clusters, plan).run();
}

}  // namespace chronos::ops::repair
