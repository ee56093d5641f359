// PostgreSQL takes "missing" for the end of all WAL: it ends recovery there, and promotes. So
// "missing" is the one answer of this program that loses data when it is wrong, and it is proved in
// one place, Get::search(): every repository answered, knows this cluster, has no such file, and
// was still there after it said so. Everything else is an error; one that a later attempt may mend
// is transient, and is repeated until the timeout.
//
//     get_wal_patiently    repeats while the error is transient
//       get_or_judge       found, or what "missing" means for this name:
//         get_wal            search every repository, check_conflict, fetch
//         get_streamed_wal   nowhere: put together from what was streamed of it
//         judge_missing_*    behind what the archive has, or a hole in it? (missing.cpp)
//
// Order that matters: all repositories are searched before one is read, so that two contents under
// one name are seen (check_conflict) whichever would come first; and a repository that failed is
// only a warning if another one has the file, but an error if none has: its silence proves nothing.
//
// What is fetched is checked on the way (VerifiedFile): size, SHA-1 of its name, that it is of this
// cluster, that it begins where the one before it ends, and that it creates no tablespace in files
// of another cluster (TablespaceJudge); the destination appears whole or not at all.
#include <unistd.h>

#include <algorithm>

#include "chronos/base/log.h"
#include "chronos/ops/archive/get.h"
#include "chronos/ops/archive/spool.h"
#include "chronos/ops/archive/stream.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/archives.h"
#include "chronos/repo/encoding.h"
#include "chronos/repo/info.h"
#include "chronos/repo/local/stanza_memory.h"
#include "chronos/repo/manifest_store.h"
#include "chronos/repo/wal_archive.h"
#include "ops/archive/missing.h"
#include "ops/archive/tablespaces.h"
#include "ops/archive/targets.h"
#include "ops/archive/verified_file.h"

namespace chronos::ops::archive {
namespace {

/// One place where the file is.
struct Candidate {
    const repo::Repository* repository = nullptr;
    std::string archive_id;
    std::string passphrase;
    repo::ArchivedSegment stored;  ///< of other files than segments only the object counts
};

bool is_segment_like(const std::string& name) {
    return pgdata::is_wal_segment(name) || pgdata::is_wal_partial(name);
}

/// In a bucket an object that is not there might be a directory, for which a second question is
/// asked; of a listing one is enough. Most history files that are asked for are not there.
Result<bool> is_there(storage::Storage& storage, const std::string& object) {
    if (!storage.features().remote) return storage::exists(storage, object);
    const std::size_t slash = object.rfind('/');
    const std::string name = object.substr(slash + 1);
    const auto entries = CHRONOS_TRY(storage.list(object.substr(0, slash), name));
    return std::ranges::any_of(entries,
                               [&](const storage::Entry& entry) { return entry.name == name; });
}

class Get {
public:
    Get(const GetSettings& settings, const std::string& name, const std::string& destination)
        : settings_(settings), name_(name), destination_(destination) {}

    Result<GetOutcome> run();

private:
    Result<> search(const repo::Repository& repository);
    Result<> search_archive(Candidate place);
    Result<> check_conflict() const;
    Result<GetOutcome> fetch();
    Result<> fetch_from(const Candidate& candidate) const;
    Result<> decode_to(io::Sink& sink, const Candidate& candidate) const;

    const GetSettings& settings_;
    const std::string& name_;
    const std::string& destination_;
    pgdata::ControlFile control_;
    pgdata::RecoveryState recovery_;
    std::optional<std::uint64_t> keep_bytes_;
    repo::ClusterIdentity cluster_;
    bool asked_again_ = false;  ///< as GetSettings::answered says
    std::vector<Candidate> candidates_;
    std::vector<RepositoryError> errors_;
};

Result<GetOutcome> Get::run() {
    control_ = CHRONOS_TRY(pgdata::read_control_file(settings_.pg_path));
    if (pgdata::is_wal_segment(name_)) {
        recovery_ = pgdata::read_recovery_state(settings_.pg_path);
        keep_bytes_ = bytes_to_give(settings_, recovery_, name_, control_.wal_segment_size);
        if (keep_bytes_ == 0U) {
            log_info(name_ + " is not used: recovery leaves timeline " +
                     std::to_string(pgdata::timeline_of_segment(name_)) + " before it");
            return GetOutcome::missing;
        }
    }
    cluster_ = repo::ClusterIdentity::of(control_);
    asked_again_ = settings_.answered != nullptr && settings_.answered->was_answered(name_);
    for (const repo::Repository& repository : settings_.repositories) {
        Result<> searched = search(repository);
        if (!searched)
            errors_.push_back({repository.key, mark_transient(std::move(searched).error())});
    }
    if (!candidates_.empty()) {
        CHRONOS_TRY(check_conflict());
        return fetch();
    }
    if (!errors_.empty())
        return combine(ErrorKind::repo_invalid, "unable to find a valid repository:", errors_);
    return GetOutcome::missing;
}

/// Adds what the repository has of the file to the candidates. Success without a candidate means
/// that the repository does not have it.
Result<> Get::search(const repo::Repository& repository) {
    const repo::ArchiveInfo info =
        CHRONOS_TRY(repo::load_archive_info(repository, settings_.stanza));
    const std::size_t count_before = candidates_.size();
    const auto archives = repo::archives_of(info.history, cluster_.version, cluster_.system_id);
    for (const repo::HistoryEntry& entry : archives)
        CHRONOS_TRY(search_archive({&repository, entry.archive_id(), info.cipher_pass, {}}));
    if (archives.empty())
        return Error(ErrorKind::archive_mismatch,
                     "unable to retrieve the archive id for database version '" + cluster_.version +
                         "' and system-id '" + std::to_string(cluster_.system_id) + "'")
            .with_hint("archive.info knows no such cluster. If it is this stanza's: " +
                       repo::repair_hint(settings_.stanza));
    // A standby will be a primary some day.
    repo::StanzaMemory({"", "", settings_.stanza, settings_.pg_path})
        .remember(repository, cluster_.system_id);
    if (candidates_.size() > count_before) return {};
    // A store that answers from afar does not go away between two answers, as a mount does.
    if (asked_again_ && repository.storage->features().remote) return {};
    // An empty listing is also what a file system gives that went away after archive.info was
    // read. Only with archive.info still there was it the repository that answered.
    const std::string name = repo::archive_info_name(settings_.stanza);
    for (const char* suffix : {"", ".copy"})
        if (CHRONOS_TRY(storage::exists(*repository.storage, name + suffix))) return {};
    return Error(ErrorKind::not_found, "'" + repository.storage->describe(name) +
                                           "' disappeared while looking for '" + name_ + "'");
}

Result<> Get::search_archive(Candidate place) {
    if (is_segment_like(name_)) {
        for (repo::ArchivedSegment& one : CHRONOS_TRY(repo::list_archived_segment(
                 *place.repository, settings_.stanza, place.archive_id, name_))) {
            place.stored = std::move(one);
            candidates_.push_back(place);
        }
        return {};
    }
    place.stored.object = repo::archived_file_object(settings_.stanza, place.archive_id, name_);
    if (CHRONOS_TRY(is_there(*place.repository->storage, place.stored.object)))
        candidates_.push_back(std::move(place));
    return {};
}

/// Two contents under one name: nobody can say which one belongs to this cluster's history.
Result<> Get::check_conflict() const {
    const std::string& first = candidates_.front().stored.checksum;
    if (std::all_of(candidates_.begin(), candidates_.end(),
                    [&](const Candidate& one) { return one.stored.checksum == first; }))
        return {};
    std::string message = "duplicates found for WAL segment " + name_ + ":";
    for (const Candidate& one : candidates_)
        message += "\nrepo" + std::to_string(one.repository->key) + ": " +
                   one.stored.object.substr(repo::archive_path(settings_.stanza).size() + 1);
    return Error(ErrorKind::archive_duplicate, message)
        .with_hint("Are multiple primaries archiving to this stanza?");
}

Result<GetOutcome> Get::fetch() {
    std::vector<RepositoryError> failed = std::move(errors_);
    for (const Candidate& candidate : candidates_) {
        const std::string repository = "repo" + std::to_string(candidate.repository->key);
        Result<> fetched = fetch_from(candidate);
        if (fetched) {
            for (const RepositoryError& one : failed)
                log_warn("repo" + std::to_string(one.key) + ": [" +
                         std::string(error_class_name(one.error.kind())) + "] " +
                         one.error.message());
            log_info("found " + name_ + " in the " + repository + ": " + candidate.archive_id +
                     " archive");
            return GetOutcome::found;
        }
        // The same everywhere, as its checksum is, and however often it is asked for.
        if (fetched.error().kind() == kHole || fetched.error().kind() == kNotItsOwn)
            return std::move(fetched).error();
        const std::string object = candidate.repository->storage->describe(candidate.stored.object);
        failed.push_back({candidate.repository->key,
                          mark_transient(std::move(fetched).error().while_doing(object))});
    }
    return combine(ErrorKind::file_read, "unable to get " + name_ + ":", failed);
}

Result<> Get::fetch_from(const Candidate& candidate) const {
    std::optional<SegmentExpectation> expected;
    if (is_segment_like(name_))
        expected = {.name = name_,
                    .size_bytes = control_.wal_segment_size,
                    .checksum = candidate.stored.checksum,
                    .cluster = cluster_,
                    .in_haste = !settings_.ahead,
                    .keep_bytes = keep_bytes_};
    if (const auto leg = recovery_.leg_of(pgdata::timeline_of_segment(name_));
        expected && leg && leg->begin.value > 0)
        expected->begins = leg->begin;
    if (pgdata::is_wal_segment(name_))
        expected->unfinished = [this](const pgdata::WalExtent& extent) -> Result<> {
            const Lsn start = pgdata::wal_segment_start(name_, control_.wal_segment_size);
            if (keep_bytes_ && extent.end >= Lsn{start.value + *keep_bytes_}) return {};
            if (settings_.ahead)
                return Error(ErrorKind::file_read, name_ + " is not one to look beyond");
            return judge_unfinished_segment(settings_, name_, extent);
        };
    if (pgdata::is_wal_segment(name_))
        expected->creates = [this](const pgdata::WalExtent& extent,
                                   const std::string& file) -> Result<> {
            if (settings_.ahead)
                return Error(ErrorKind::file_read, name_ + " creates a tablespace");
            return TablespaceJudge(settings_.pg_path, control_, recovery_)
                .judge(extent.tablespaces, name_, file);
        };
    VerifiedFile file = CHRONOS_TRY(VerifiedFile::create(destination_, std::move(expected)));
    return decode_to(file, candidate);
}

Result<> Get::decode_to(io::Sink& sink, const Candidate& candidate) const {
    return repo::decode_object(*candidate.repository, candidate.stored.object,
                               repo::wal_encoding(*candidate.repository, candidate.passphrase,
                                                  candidate.stored.compression),
                               sink);
}

}  // namespace

Result<GetOutcome> get_wal(const GetSettings& settings, const std::string& name,
                           const std::string& destination) {
    return Get(settings, name, destination).run();
}

namespace {

/// What it means that no repository has the file.
Result<GetOutcome> judge_missing(const GetSettings& settings, const std::string& name,
                                 const std::string& destination) {
    if (pgdata::is_timeline_history(name))
        return judge_missing_history(settings, name, destination);
    if (!pgdata::is_wal_segment(name)) return GetOutcome::missing;
    if (settings.use_streamed) {
        const auto outcome = get_streamed_wal(settings, name, destination);
        if (!outcome || *outcome == GetOutcome::found) return outcome;
    }
    return judge_missing_segment(settings, name);
}

Result<GetOutcome> get_or_judge(const GetSettings& settings, const std::string& name,
                                const std::string& destination) {
    Result<GetOutcome> outcome = get_wal(settings, name, destination);
    if (!outcome || *outcome == GetOutcome::found) return outcome;
    outcome = judge_missing(settings, name, destination);
    if (settings.answered != nullptr && outcome && *outcome == GetOutcome::missing &&
        !settings.answered->was_answered(name))
        settings.answered->note_answered(name);
    return outcome;
}

}  // namespace

Result<GetOutcome> get_wal_patiently(const GetSettings& settings, const std::string& name,
                                     const std::string& destination,
                                     std::chrono::milliseconds timeout,
                                     const Cancellation& cancel) {
    constexpr std::chrono::milliseconds kPauseMax(5000);
    // A segment that those behind it have overtaken comes soon, or not at all.
    constexpr std::chrono::milliseconds kHolePatience(10'000);
    std::chrono::milliseconds pause(100);
    const Deadline deadline(timeout);
    const Deadline hole_deadline(std::min(timeout, kHolePatience));
    for (;;) {
        Result<GetOutcome> outcome = get_or_judge(settings, name, destination);
        if (outcome || !outcome.error().transient() || deadline.passed()) return outcome;
        if (outcome.error().kind() == kHole && hole_deadline.passed()) return outcome;
        if (pause.count() == 100)
            log_warn("will try again to get " + name + ": " + outcome.error().message());
        CHRONOS_TRY(cancel.sleep(std::min(pause, deadline.remaining())));
        pause = std::min(pause * 2, kPauseMax);
    }
}

Result<> check_backup_label(const std::string& pg_path) {
    const pgdata::ControlFile control = CHRONOS_TRY(pgdata::read_control_file(pg_path));
    if (control.checkpoint.value != pgdata::kInvalidCheckpoint) return {};
    if (::access((pg_path + "/backup_label").c_str(), F_OK) == 0) return {};
    return Error(ErrorKind::format, "pg_control from backup is not valid without backup_label")
        .with_hint("Was the backup_label file removed?");
}

}  // namespace chronos::ops::archive
