#include "ops/archive/targets.h"

#include <algorithm>

#include "chronos/base/log.h"

namespace chronos::ops::archive {
namespace {

using Clock = std::chrono::steady_clock;

/// Looking costs a request where there are no directories; a changed stanza is noticed late there,
/// which only matters to somebody who deletes and creates it under a running server.
constexpr auto kRemoteLookInterval = std::chrono::seconds(10);

/// Often enough for the owner of a stanza to be seen alive, rarely for a bucket.
constexpr auto kOwnerInterval = std::chrono::seconds(60);

/// Times of objects have seconds.
constexpr UnixTime kStampResolution_s = 2;

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
        .with_hint(
            "Are you archiving to the correct stanza? After pg_upgrade, stanza-upgrade makes the "
            "new cluster known to it.");
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
    // A wrong passphrase has one code, at whatever it shows.
    const bool closed =
        !errors.empty() && std::ranges::all_of(errors, [](const RepositoryError& one) {
            return one.error.kind() == ErrorKind::crypto;
        });
    Error error(closed ? ErrorKind::crypto : kind, message);
    for (const RepositoryError& one : errors)
        if (!one.error.hint().empty()) error = std::move(error).with_hint(one.error.hint());
    return transient ? std::move(error).as_transient() : error;
}

StanzaWatch::StanzaWatch(const PushSettings& settings, const repo::Repository& repository)
    : settings_(settings),
      repository_(repository),
      memory_({settings.spool_path, settings.lock_path, settings.stanza, settings.pg_path}) {}

Result<Target> StanzaWatch::target(const std::optional<repo::ClusterIdentity>& cluster) {
    const std::lock_guard lock(mutex_);
    CHRONOS_TRY(refresh(cluster));
    const repo::HistoryEntry& current = info_->current();
    if (cluster && !cluster->is(current)) return mismatch(*cluster, repository_, current);
    CHRONOS_TRY(check_owner());
    return Target{&repository_, current, info_->cipher_pass};
}

/// A copy of the data directory has the same configuration, and its WAL the same names.
Result<> StanzaWatch::check_owner() {
    const bool known = owner_asked_at_ && Clock::now() - *owner_asked_at_ < kOwnerInterval;
    if (settings_.pg_path.empty() || known) return {};
    const repo::ServerIdentity self = CHRONOS_TRY(repo::identify_server(settings_.pg_path));
    if (self.system_id != info_->current().system_id) return {};
    auto use = repo::StanzaOwner(repository_, settings_.stanza).use(self, repo::StanzaUse::archive);
    if (!use && use.error().kind() == ErrorKind::archive_mismatch) return use;
    // A server is not without an archive because nothing beside it can be read or written.
    if (!use) log_detail("whose the stanza is was not found out: " + use.error().message());
    owner_asked_at_ = Clock::now();
    return {};
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
    if (!loaded && loaded.error().kind() == ErrorKind::not_found) {
        const Result<bool> creatable = may_create(cluster);
        if (!creatable) return std::move(loaded).error().with_hint(creatable.error().hint());
        if (*creatable) {
            CHRONOS_TRY(create(*cluster));
            loaded = repo::load_archive_info(repository_, settings_.stanza);
        }
    }
    info_ = CHRONOS_TRY(std::move(loaded));
    // The stamp from before loading: if the file changed meanwhile, the next look sees that.
    stamp_ = found;
    stamp_is_young_ = found && found->modified + kStampResolution_s >= unix_now();
    looked_at_ = Clock::now();
    if (!seen_) memory_.remember(repository_, info_->current().system_id);
    seen_ = true;
    return {};
}

Result<> StanzaWatch::confirm(const Target& target) {
    std::unique_lock lock(confirm_mutex_);
    const std::uint64_t own = ++asked_;
    while (answered_ < own) {
        if (asking_) {
            confirmed_.wait(lock);
            continue;
        }
        asking_ = true;
        const std::uint64_t answers = asked_;
        lock.unlock();
        const Result<> looked = look_again();
        lock.lock();
        asking_ = false;
        if (looked) answered_ = answers;
        confirmed_.notify_all();
        CHRONOS_TRY(looked);
    }
    lock.unlock();
    return compare(target);
}

Result<> StanzaWatch::look_again() {
    const std::optional<Stamp> found = CHRONOS_TRY(stamp());
    const std::lock_guard lock(mutex_);
    if (info_ && found && found == stamp_ && !stamp_is_young_) return {};
    info_.reset();
    return refresh(std::nullopt);
}

Result<> StanzaWatch::compare(const Target& target) const {
    const std::lock_guard lock(mutex_);
    if (info_ && info_->cipher_pass == target.passphrase &&
        info_->current().id == target.cluster.id && info_->current().same_cluster(target.cluster))
        return {};
    return Error(ErrorKind::archive_mismatch,
                 "stanza '" + settings_.stanza + "' on " + repo_name(repository_) +
                     " was created anew or upgraded while a file was stored in it")
        .with_hint("The file will be stored again.")
        .as_transient();
}

Result<std::optional<StanzaWatch::Stamp>> StanzaWatch::stamp() const {
    const std::optional<storage::Entry> entry =
        CHRONOS_TRY(repository_.storage->info(repo::archive_info_name(settings_.stanza)));
    if (!entry) return std::optional<Stamp>{};
    return std::optional(Stamp{entry->size, entry->modified});
}

/// A stanza that was seen once, by this process or one before it, is not created again.
Result<bool> StanzaWatch::may_create(const std::optional<repo::ClusterIdentity>& cluster) const {
    if (!settings_.create_stanza || !cluster || seen_) return false;
    CHRONOS_TRY(memory_.check_first_use(repository_, cluster->system_id));
    return true;
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
