#include "chronos/repo/side/lease.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "chronos/base/activity.h"
#include "chronos/base/log.h"
#include "chronos/base/process_id.h"
#include "chronos/base/text.h"
#include "chronos/repo/empty_paths.h"
#include "chronos/repo/side_files.h"
#include "repo/json_text.h"
#include "repo/side/process_text.h"

namespace chronos::repo {
namespace {

constexpr std::chrono::seconds kRenewal(30);
/// Renewals may be late by what a slow repository needs, a few of them.
constexpr UnixTime kLeaseDeadAfter_s = 180;
constexpr std::size_t kLeaseSizeMax = 16384;

/// What a sign of life says.
struct Holder {
    std::string what;
    std::string server;
    ProcessIdentity process;
};

std::string lease_path(const std::string& stanza) {
    return "chronos/" + stanza + "/run";
}

std::string format(const Holder& holder) {
    ProcessText text;
    text.add("what", holder.what);
    text.add("server", holder.server);
    return text.finish(holder.process);
}

/// What does not parse says nothing but that it is there.
Holder parse(std::string_view text) {
    Holder holder;
    JsonReader reader(trim(text));
    std::string_view key;
    for (reader.begin_object(); reader.next_key(key);) {
        const std::string value = reader.string();
        if (set_process_part(holder.process, key, value)) continue;
        if (key == "what") holder.what = value;
        if (key == "server") holder.server = value;
    }
    return holder;
}

/// A name of the run: its exec id, where that can be one.
std::string run_name(const std::string& exec_id, const ProcessIdentity& process) {
    const bool plain =
        !exec_id.empty() && exec_id.size() <= 64 && std::ranges::all_of(exec_id, [](char c) {
            return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-';
        });
    if (plain) return exec_id;
    return std::to_string(process.pid) + "-" + std::to_string(process.start_ticks);
}

}  // namespace

struct Lease::State {
    Repository repository;
    std::string stanza;
    std::string run;
    Holder self;
    bool only_removes = false;
    bool has_sign = false;  ///< of life, which was written
    bool told = false;      ///< that it was not

    std::mutex mutex;
    std::condition_variable changed;
    bool ending = false;
    std::thread renewer;

    storage::Storage& storage() { return *repository.storage; }
    std::string path(const std::string& name) const { return lease_path(stanza) + "/" + name; }
    Result<> write() { return write_side_file(repository, path(run), format(self)); }
    Result<> sign();
    void renew();
    Result<> refuse_others(bool remove_dead);
    /// Whoever has left a sign of life, for people, and what they can do while it is alive.
    struct Other {
        bool dead = false;
        bool ended = false;  ///< seen to be so, and not only taken for dead
        std::string who, hint;
    };
    Result<Other> look_at(const storage::Entry& entry, UnixTime now);
    Result<> keep_from_being_resumed();
};

/// Writes the sign of life and has it renewed; without one whoever only removes goes on where
/// nothing is left to write it with.
Result<> Lease::State::sign() {
    Result<> signed_now = write();
    // Somebody else may just remove the directory, empty, that this is to be in.
    if (!signed_now) signed_now = write();
    has_sign = static_cast<bool>(signed_now);
    if (!signed_now && !(only_removes && signed_now.error().no_space()))
        return std::move(signed_now)
            .error()
            .while_doing("leave a sign of life in repo" + std::to_string(repository.key));
    if (!has_sign) {
        if (!std::exchange(told, true))
            log_warn("repo" + std::to_string(repository.key) + ": " + self.what +
                     " goes on without a sign of life, because no space is left for it: " +
                     signed_now.error().message() + "\nHINT: Let no other host work on stanza '" +
                     stanza + "' meanwhile.");
        return {};
    }
    renewer = std::thread([this] {
        const Activity::Quiet renewing;
        try {
            renew();
        } catch (const std::exception& exception) {
            log(LogLevel::debug, std::string("sign of life not renewed: ") + exception.what());
        }
    });
    return {};
}

/// Renewed is what is still there: somebody who removed it took this run for dead, or deleted the
/// stanza, and is not to be bothered.
void Lease::State::renew() {
    std::unique_lock lock(mutex);
    while (!changed.wait_for(lock, kRenewal, [this] { return ending; })) {
        lock.unlock();
        const auto there = storage::exists(storage(), path(run));
        // Nothing depends on a single one: prove() decides before anything is published.
        if (there && *there)
            if (const Result<> written = write(); !written)
                log(LogLevel::debug, "sign of life not renewed: " + written.error().message());
        lock.lock();
    }
}

Result<Lease::State::Other> Lease::State::look_at(const storage::Entry& entry, UnixTime now) {
    const auto text = storage::read_object(storage(), path(entry.name), kLeaseSizeMax);
    if (!text && text.error().kind() == ErrorKind::not_found)
        return Other{true, true, "", ""};  // has just ended
    const Holder holder = text ? parse(*text) : Holder{};
    const std::string process = std::to_string(holder.process.pid);
    const std::string age = std::to_string(now - entry.modified) + " seconds old";
    const std::string who =
        (holder.what.empty() ? "another command" : "'" + printable(holder.what) + "'") +
        " of process " + process + " on host '" + printable(holder.process.host) + "'";
    const std::string last = "Its last sign of life is " + age + ". ";
    if (const auto runs = still_runs(holder.process)) {
        if (!*runs) return Other{true, true, who + ", which has ended", ""};
        return Other{false, false, who,
                     last + "It runs on this machine: wait for it, or end process " + process +
                         " if it stands still."};
    }
    if (!self.server.empty() && holder.server == self.server)
        return Other{true, false, who + ", which has lost its session", ""};
    if (now - entry.modified > kLeaseDeadAfter_s)
        return Other{true, false, who + ", whose last sign of life is " + age, ""};
    return Other{false, false, who,
                 last + "If that host is lost, try again when it is more than " +
                     std::to_string(kLeaseDeadAfter_s) + " seconds old."};
}

/// Somebody who was taken for dead and only stands still may go on, and in the end remove what he
/// had half stored: nobody else may rely on files of a backup that he has begun. Before his sign of
/// life goes, so that a kill between the two changes nothing.
Result<> Lease::State::keep_from_being_resumed() {
    for (const storage::Entry& entry : CHRONOS_TRY(storage().list(backup_path(stanza)))) {
        if (entry.type != storage::EntryType::path || !is_backup_label(entry.name)) continue;
        const std::string manifest = manifest_name(stanza, entry.name);
        if (CHRONOS_TRY(storage::exists(storage(), manifest))) continue;
        CHRONOS_TRY(storage().remove(manifest + ".copy"));
    }
    return {};
}

Result<> Lease::State::refuse_others(bool remove_dead) {
    const std::vector<storage::Entry> entries = CHRONOS_TRY(storage().list(lease_path(stanza)));
    UnixTime now = 0;
    for (const storage::Entry& entry : entries) now = std::max(now, entry.modified);
    for (const storage::Entry& entry : entries) {
        if (entry.name == run || entry.type != storage::EntryType::file) continue;
        const Other other = CHRONOS_TRY(look_at(entry, now));
        if (!other.dead)
            return Error(ErrorKind::lock_acquire, self.what + " of stanza '" + stanza +
                                                      "' on repo" + std::to_string(repository.key) +
                                                      " is not possible while " + other.who +
                                                      " works on it")
                .with_hint(other.hint);
        if (!remove_dead) continue;
        if (!other.ended) CHRONOS_TRY(keep_from_being_resumed());
        CHRONOS_TRY(storage().remove(path(entry.name)));
        if (!other.who.empty()) log_warn(self.what + " takes over from " + other.who);
    }
    return {};
}

Lease::Lease(std::unique_ptr<State> state) : state_(std::move(state)) {}

Lease::~Lease() {
    {
        const std::lock_guard lock(state_->mutex);
        state_->ending = true;
    }
    state_->changed.notify_all();
    if (state_->renewer.joinable()) state_->renewer.join();
    // What stays is taken for dead.
    (void)state_->storage().remove(state_->path(state_->run));
    remove_empty_paths(state_->storage(), lease_path(state_->stanza));
}

// Written first and then looked around: of two that come at the same moment at least one sees the
// other. Both may be refused; never are both let in.
Result<std::unique_ptr<Lease>> Lease::take(const Repository& repository,
                                           const LeaseRequest& request) {
    const std::string info = backup_info_name(request.stanza);
    if (!CHRONOS_TRY(storage::exists(*repository.storage, info)) &&
        CHRONOS_TRY(repository.storage->list(backup_path(request.stanza))).empty())
        return std::unique_ptr<Lease>();
    auto state = std::make_unique<State>();
    state->repository = repository;
    state->stanza = request.stanza;
    state->self = {request.what, request.server, ProcessIdentity::of_this_process()};
    state->run = run_name(request.exec_id, state->self.process);
    state->only_removes = request.only_removes;
    std::unique_ptr<Lease> lease(new Lease(std::move(state)));
    State& held = *lease->state_;
    CHRONOS_TRY(held.sign());
    CHRONOS_TRY(held.refuse_others(/*remove_dead=*/true));
    return lease;
}

// Somebody who took this run for dead may have come, worked and gone again.
Result<> Lease::prove() {
    // There may be room by now.
    const bool is_late = !state_->has_sign;
    if (is_late) CHRONOS_TRY(state_->sign());
    CHRONOS_TRY(state_->refuse_others(/*remove_dead=*/false));
    const std::string own = state_->path(state_->run);
    if (is_late || CHRONOS_TRY(storage::exists(state_->storage(), own))) return {};
    return Error(ErrorKind::lock_acquire,
                 state_->self.what + " of stanza '" + state_->stanza + "' on repo" +
                     std::to_string(state_->repository.key) +
                     " goes no further: it was taken for dead, and somebody else has worked on the"
                     " stanza; its sign of life '" +
                     own + "' is gone")
        .with_hint("Was this host or process at a standstill for some minutes? Run it again.");
}

}  // namespace chronos::repo
