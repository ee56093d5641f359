#include "targets.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "chronos/base/log.h"

namespace chronos::ops::archive {
namespace {

using Clock = std::chrono::steady_clock;

/// Looking costs a request where there are no directories; a changed stanza is noticed late there,
/// which only matters to somebody who deletes and creates it under a running server.
constexpr auto kRemoteLookInterval = std::chrono::seconds(10);

std::string repo_name(const repo::Repository& repository) {
    return "repo" + std::to_string(repository.key);
}

Error mismatch(const repo::ClusterIdentity& cluster, const repo::Repository& repository,
               const repo::HistoryEntry& current) {
    return Error(ErrorKind::archive_mismatch,
                 "PostgreSQL version " + cluster.version + ", system-id " +
                     std::to_string(cluster.system_id) + " do not match " + repo_name(repository) +
                     " stanza version " + current.version + ", system-id " +
                     std::to_string(current.system_id))
        .with_hint("Are you archiving to the correct stanza?");
}

/// A failure that says nothing about what the archive holds and may be over in a moment: a file
/// system that is not mounted yet, a service that restarts.
bool may_pass(const Error& error) {
    if (error.transient()) return true;
    switch (error.kind()) {
        case ErrorKind::not_found:
        case ErrorKind::path_missing:
        case ErrorKind::path_open:
        case ErrorKind::file_open:
        case ErrorKind::file_read:
        case ErrorKind::file_info:
        case ErrorKind::host_connect:
        case ErrorKind::service:
        case ErrorKind::kernel: return true;
        default: return false;
    }
}

}  // namespace

Error mark_transient(Error error) {
    return may_pass(error) ? std::move(error).as_transient() : error;
}

Error combine(ErrorKind kind, const std::string& summary,
              const std::vector<RepositoryError>& errors) {
    std::string message = summary;
    bool transient = false;
    for (const RepositoryError& one : errors) {
        message += "\nrepo" + std::to_string(one.key) + ": [" +
                   std::string(error_class_name(one.error.kind())) + "] " + one.error.message();
        transient = transient || one.error.transient();
    }
    Error error(kind, message);
    for (const RepositoryError& one : errors)
        if (!one.error.hint().empty()) error = std::move(error).with_hint(one.error.hint());
    return transient ? std::move(error).as_transient() : error;
}

StanzaWatch::StanzaWatch(const PushSettings& settings, const repo::Repository& repository)
    : settings_(settings), repository_(repository) {}

Result<Target> StanzaWatch::target(const std::optional<repo::ClusterIdentity>& cluster) {
    const std::lock_guard lock(mutex_);
    CHRONOS_TRY(refresh(cluster));
    const repo::HistoryEntry& current = info_->current();
    if (cluster && !cluster->is(current)) return mismatch(*cluster, repository_, current);
    return Target{&repository_, current, info_->cipher_pass};
}

Result<> StanzaWatch::refresh(const std::optional<repo::ClusterIdentity>& cluster) {
    const bool cheap = repository_.storage->features().paths;
    if (info_ && !cheap && Clock::now() - looked_at_ < kRemoteLookInterval) return {};
    const std::optional<Stamp> found = CHRONOS_TRY(stamp());
    if (info_ && found && found == stamp_) {
        looked_at_ = Clock::now();
        return {};
    }
    info_.reset();
    Result<repo::ArchiveInfo> loaded = repo::load_archive_info(repository_, settings_.stanza);
    if (!loaded && loaded.error().kind() == ErrorKind::not_found &&
        CHRONOS_TRY(may_create(cluster))) {
        CHRONOS_TRY(create(*cluster));
        loaded = repo::load_archive_info(repository_, settings_.stanza);
    }
    info_ = CHRONOS_TRY(std::move(loaded));
    // The stamp from before loading: if the file changed meanwhile, the next look sees that.
    stamp_ = found;
    looked_at_ = Clock::now();
    if (!seen_) remember();
    seen_ = true;
    return {};
}

Result<std::optional<StanzaWatch::Stamp>> StanzaWatch::stamp() const {
    const std::optional<storage::Entry> entry = CHRONOS_TRY(
        repository_.storage->info(repo::archive_path(settings_.stanza) + "/archive.info"));
    if (!entry) return std::optional<Stamp>{};
    return std::optional(Stamp{entry->size, entry->modified});
}

/// A file system that is not mounted looks like a repository without stanzas. WAL must not be
/// stored below the mount point, so the root has to be there, and a stanza that was seen once, by
/// this process or one before it, is not created again.
Result<bool> StanzaWatch::may_create(const std::optional<repo::ClusterIdentity>& cluster) const {
    if (!settings_.create_stanza || !cluster || seen_) return false;
    if (!repository_.storage->features().paths) return true;
    return !remembered(cluster->system_id) &&
           CHRONOS_TRY(repository_.storage->info("")).has_value();
}

std::string StanzaWatch::memory_path(std::uint64_t system_id) const {
    return settings_.spool_path + "/chronos/" + settings_.stanza + "/seen-" +
           std::to_string(system_id) + "-" + repo_name(repository_);
}

/// Where there is no spool nothing is remembered: then it is as if it were the first time.
void StanzaWatch::remember() const {
    if (settings_.spool_path.empty() || !repository_.storage->features().paths) return;
    const std::uint64_t system_id = info_->current().system_id;
    if (remembered(system_id)) return;
    const std::filesystem::path path = memory_path(system_id);
    std::error_code ignored;
    std::filesystem::create_directories(path.parent_path(), ignored);
    std::ofstream(path) << repository_.storage->describe("");
}

/// The name of the place is part of it: at another one a stanza may well be missing.
bool StanzaWatch::remembered(std::uint64_t system_id) const {
    if (settings_.spool_path.empty()) return false;
    std::ifstream file(memory_path(system_id));
    const std::string place{std::istreambuf_iterator<char>(file), {}};
    return !place.empty() && place == repository_.storage->describe("");
}

Result<> StanzaWatch::create(const repo::ClusterIdentity& cluster) {
    const auto locks = CHRONOS_TRY(repo::lock_stanza({.lock_path = settings_.lock_path,
                                                      .stanza = settings_.stanza,
                                                      .repo_key = repository_.key,
                                                      .exec_id = settings_.exec_id}));
    const std::string what = "create stanza '" + settings_.stanza + "'";
    const repo::StanzaOutcome outcome =
        CHRONOS_TRY_DOING(repo::create_stanza(repository_, settings_.stanza, cluster), what);
    if (outcome == repo::StanzaOutcome::created)
        log_info("created stanza '" + settings_.stanza + "' on " + repo_name(repository_));
    return {};
}

}  // namespace chronos::ops::archive
