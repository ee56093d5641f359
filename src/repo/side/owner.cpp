#include "chronos/repo/side/owner.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

#include "chronos/base/directory_identity.h"
#include "chronos/base/log.h"
#include "chronos/base/process_id.h"
#include "chronos/base/text.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/repo/side_files.h"
#include "repo/json_text.h"

namespace chronos::repo {
namespace {

constexpr UnixTime kRenewal_s = 120;
/// Renewals may be missed for as long as a server is without work, or its repository away.
constexpr UnixTime kOwnerDeadAfter_s = 360;
/// Whoever may be the owner itself, started anew, need not wait so long: a running one was late.
constexpr UnixTime kSilentAfter_s = 240;
/// An owner that was taken for dead, and was not, gets back what is its own.
constexpr UnixTime kReturn_s = 86400;
constexpr UnixTime kRefusedShown_s = 86400;
/// So long after a promotion a former primary may still archive what it has.
constexpr UnixTime kDraining_s = 60;
constexpr std::size_t kOwnerSizeMax = 16384;

std::string timeline_name(Timeline timeline) {
    std::array<char, 16> name{};
    std::snprintf(name.data(), name.size(), "%08X", timeline);
    return name.data();
}

/// nullopt: the name is not that of a timeline.
std::optional<Timeline> timeline_of(std::string_view name) {
    Timeline timeline = 0;
    const auto [end, failure] =
        std::from_chars(name.data(), name.data() + name.size(), timeline, 16);
    if (failure != std::errc() || timeline_name(timeline) != name) return std::nullopt;
    return timeline;
}

void append(std::string& text, std::string_view key, const std::string& value) {
    text += text.empty() || text.back() == '{' ? "" : ",";
    append_json_string(text, key);
    text += ":";
    append_json_string(text, value);
}

void append(std::string& text, const std::string& prefix, const ServerIdentity& server) {
    append(text, prefix + "host", server.host);
    append(text, prefix + "boot", server.boot_id);
    append(text, prefix + "path", server.path);
    append(text, prefix + "device", std::to_string(server.device));
    append(text, prefix + "inode", std::to_string(server.inode));
    append(text, prefix + "file-system", std::to_string(server.file_system));
    append(text, prefix + "system-id", std::to_string(server.system_id));
    append(text, prefix + "timeline", std::to_string(server.timeline));
    append(text, prefix + "namespace", server.pid_namespace);
}

void set(ServerIdentity& server, std::string_view key, const std::string& value) {
    const std::uint64_t number = parse_uint(value).value_or(0);
    if (key == "host") server.host = value;
    if (key == "boot") server.boot_id = value;
    if (key == "path") server.path = value;
    if (key == "device") server.device = number;
    if (key == "inode") server.inode = number;
    if (key == "file-system") server.file_system = number;
    if (key == "system-id") server.system_id = number;
    if (key == "timeline") server.timeline = static_cast<Timeline>(number);
    if (key == "namespace") server.pid_namespace = value;
}

/// The very directory, on a machine that runs on.
bool is_same_directory(const ServerIdentity& a, const ServerIdentity& b) {
    return !a.boot_id.empty() && a.boot_id == b.boot_id && a.device == b.device &&
           a.inode == b.inode;
}

bool is_same_now(const ServerIdentity& a, const ServerIdentity& b) {
    return a.host == b.host && a.boot_id == b.boot_id && a.path == b.path && a.device == b.device &&
           a.inode == b.inode && a.system_id == b.system_id;
}

/// Nothing runs in the directory of `owner`, and `self` would see it.
bool is_seen_gone(const ServerIdentity& owner, const ServerIdentity& self) {
    if (owner.pid_namespace.empty() || owner.boot_id != machine_boot_id() ||
        owner.pid_namespace != own_pid_namespace())
        return false;
    return is_worked_in(owner.device, owner.inode, self.user) == false;
}

/// The namespace, if the server runs and is seen at it.
std::string namespace_of_server(const std::string& pg_path, const DirectoryIdentity& directory) {
    pid_t postmaster = 0;
    std::ifstream(pg_path + "/postmaster.pid") >> postmaster;
    return postmaster > 0 && works_in(postmaster, directory.device, directory.inode)
               ? own_pid_namespace()
               : "";
}

}  // namespace

struct StanzaOwner::Record {
    ServerIdentity server;
    ServerIdentity former;  ///< whom it was taken from, not being renewed; none if its path is ""
    ServerIdentity before;  ///< of the same name, in whose place the owner came; likewise
    bool claimed = false;
    bool came_back = false;   ///< the owner did, and `before` is a copy of its name
    UnixTime taken_at = 0;    ///< by the clock of whoever took it
    UnixTime seen_at = 0;     ///< of a note: when the owner had renewed its record at that time
    UnixTime renewed_at = 0;  ///< by the clock of the owner
    UnixTime modified = 0;    ///< by the clock of the repository; both once asked for
    UnixTime age = 0;         ///< since then, by the same clock, seconds

    bool alive() const { return age <= kOwnerDeadAfter_s; }
    /// What has gone wrong with the name is known: the server is the copy, and not the owner.
    bool is_copy(const ServerIdentity& self) const {
        return came_back && is_same_directory(before, self);
    }
    bool is_of(const ServerIdentity& self) const {
        return is_same_server(server, self) && !is_copy(self);
    }
};

ServerIdentity identify_place(const std::string& pg_path, std::uint64_t system_id) {
    ServerIdentity server;
    const ProcessIdentity process = ProcessIdentity::of_this_process();
    server.host = process.host;
    server.boot_id = process.boot_id;
    server.system_id = system_id;
    std::error_code failure;
    server.path = std::filesystem::canonical(pg_path, failure).string();
    if (failure) server.path = pg_path;
    const auto directory = identify_directory(pg_path);
    if (!directory) return server;
    server.device = directory->device;
    server.inode = directory->inode;
    server.file_system = directory->file_system;
    server.pid_namespace = namespace_of_server(pg_path, *directory);
    server.user = directory->user;
    return server;
}

Result<ServerIdentity> identify_server(const std::string& pg_path) {
    const pgdata::ControlFile control = CHRONOS_TRY(pgdata::read_control_file(pg_path));
    ServerIdentity server = identify_place(pg_path, control.system_id);
    if (server.inode == 0)
        return system_error(ErrorKind::file_info, "unable to look at '" + pg_path + "'", errno);
    server.timeline = control.current_timeline();
    server.standby = control.in_recovery;
    return server;
}

bool is_same_server(const ServerIdentity& a, const ServerIdentity& b) {
    const bool same_name = a.host == b.host && a.path == b.path;
    if (!a.boot_id.empty() && a.boot_id == b.boot_id) return is_same_directory(a, b) || same_name;
    return same_name && a.inode == b.inode && a.file_system == b.file_system;
}

std::string timeline_history_object(const std::string& stanza, const std::string& archive_id,
                                    Timeline timeline) {
    if (timeline <= 1) return "";
    return archive_path(stanza) + "/" + archive_id + "/" + timeline_name(timeline) + ".history";
}

std::string describe(const ServerIdentity& server) {
    return "data directory '" + printable(server.path) + "' on host '" + printable(server.host) +
           "'";
}

Result<std::optional<StanzaOwner::Record>> StanzaOwner::load(const std::string& name) const {
    auto text = storage::read_object(*repository_.storage, name, kOwnerSizeMax);
    if (!text && text.error().kind() == ErrorKind::not_found) return std::optional<Record>();
    if (!text) return std::move(text).error().while_doing("read whose stanza '" + stanza_ + "' is");
    Record record;
    JsonReader reader(trim(*text));
    std::string_view key;
    for (reader.begin_object(); reader.next_key(key);) {
        const std::string value = reader.string();
        if (key == "claimed") record.claimed = value == "y";
        if (key == "came-back") record.came_back = value == "y";
        if (key == "taken-at") record.taken_at = parse_unix_time(value).value_or(0);
        if (key == "seen-at") record.seen_at = parse_unix_time(value).value_or(0);
        if (key == "renewed-at") record.renewed_at = parse_unix_time(value).value_or(0);
        if (key.starts_with("former-"))
            set(record.former, key.substr(7), value);
        else if (key.starts_with("before-"))
            set(record.before, key.substr(7), value);
        else
            set(record.server, key, value);
    }
    // Damage, or of a later version: as if there were none.
    if (!reader.finished() || record.server.path.empty()) return std::optional<Record>();
    return std::optional(std::move(record));
}

/// Now, by the clock of the repository: the clocks of two machines may be hours apart, and whose is
/// wrong nobody can tell. This server's is compared with it by what the server has written last;
/// costs a round trip or two, which an owner need not make.
Result<UnixTime> StanzaOwner::repository_now(const ServerIdentity& self) const {
    const auto ahead_by = [&](const std::string& name) -> Result<std::optional<UnixTime>> {
        const auto record = CHRONOS_TRY(load(name));
        if (!record || !is_same_now(record->server, self)) return std::optional<UnixTime>();
        const UnixTime since = unix_now() - record->renewed_at;
        const auto entry = CHRONOS_TRY(repository_.storage->info(name));
        if (since < 0 || since >= kRenewal_s || !entry) return std::optional<UnixTime>();
        return std::optional(entry->modified - record->renewed_at);
    };
    auto ahead = CHRONOS_TRY(ahead_by(object(self.timeline)));
    if (!ahead) ahead = CHRONOS_TRY(ahead_by(refused_object(self.timeline)));
    return unix_now() + ahead.value_or(0);
}

Result<> StanzaOwner::look_at_age(Record& record, const ServerIdentity& self,
                                  Timeline timeline) const {
    const auto entry = CHRONOS_TRY(repository_.storage->info(object(timeline)));
    record.modified = entry ? entry->modified : 0;
    record.age = CHRONOS_TRY(repository_now(self)) - record.modified;
    return {};
}

Result<> StanzaOwner::save(const std::string& name, const Record& record) const {
    std::string text = "{";
    append(text, "", record.server);
    append(text, "claimed", record.claimed ? "y" : "n");
    append(text, "came-back", record.came_back ? "y" : "n");
    append(text, "taken-at", std::to_string(record.taken_at));
    append(text, "renewed-at", std::to_string(unix_now()));
    if (record.seen_at != 0) append(text, "seen-at", std::to_string(record.seen_at));
    if (!record.former.path.empty()) append(text, "former-", record.former);
    if (!record.before.path.empty()) append(text, "before-", record.before);
    return write_side_file(repository_, name, text + "}\n");
}

Result<> StanzaOwner::own(Record record, const ServerIdentity& self) const {
    record.server = self;
    if (record.taken_at == 0) record.taken_at = unix_now();
    return save(object(self.timeline), record);
}

/// The archiver, a backup and health may all come at once to renew a record, and one of them
/// writes it.
Result<> StanzaOwner::use(const ServerIdentity& self, StanzaUse what) const {
    constexpr int kAttempts = 50;
    constexpr auto kPause = std::chrono::milliseconds(20);
    Result<> used = use_once(self, what);
    for (int i = 1; i < kAttempts && !used && used.error().kind() == ErrorKind::lock_acquire; ++i) {
        std::this_thread::sleep_for(kPause);
        used = use_once(self, what);
    }
    return used;
}

Result<> StanzaOwner::use_once(const ServerIdentity& self, StanzaUse what) const {
    if (self.standby) return {};
    auto record = CHRONOS_TRY(load(object(self.timeline)));
    if (!record || record->server.system_id != self.system_id) return own({}, self);
    if (is_same_directory(record->server, self)) {
        const UnixTime since = unix_now() - record->renewed_at;
        if (is_same_now(record->server, self) && since >= 0 && since < kRenewal_s) return {};
        return own(*std::move(record), self);
    }
    if (is_same_server(record->server, self))
        return come_in_its_place(*std::move(record), self, what);
    return take_over(*std::move(record), self, what);
}

Result<> StanzaOwner::take_over(Record record, const ServerIdentity& self, StanzaUse what) const {
    note(self);
    CHRONOS_TRY(look_at_age(record, self, self.timeline));
    const bool dead = !record.alive();
    const bool returns = !record.claimed && !record.former.path.empty() &&
                         is_same_server(record.former, self) &&
                         unix_now() - record.taken_at < kReturn_s;
    if (!dead && !returns) return refuse(self, record, what);
    log_warn("repo" + std::to_string(repository_.key) + ": stanza '" + stanza_ +
             "' is taken over by " + describe(self) + " from " + describe(record.server) +
             (dead ? ", which has not used it for " + std::to_string(record.age) + " seconds"
                   : ", which took it while this server was quiet"));
    Record taken;
    if (dead) taken.former = record.server;
    taken.claimed = returns;  // who comes back is not taken from again
    CHRONOS_TRY(own(std::move(taken), self));
    return repository_.storage->remove(refused_object(self.timeline));
}

/// A directory of the owner's name: its machine was started anew, or its cluster restored in place.
/// Or a copy has that name, on another machine or in another container. While the owner may be
/// alive that is found out by waiting for it. No start of a machine comes back and no directory
/// that was replaced: if the one before does, both are there at once, and it was there first.
Result<> StanzaOwner::come_in_its_place(Record record, const ServerIdentity& self,
                                        StanzaUse what) const {
    const bool comes_back = is_same_directory(record.before, self) && !record.came_back;
    if (!comes_back && (record.is_copy(self) || !is_seen_gone(record.server, self))) {
        note(self);
        CHRONOS_TRY(look_at_age(record, self, self.timeline));
        if (record.is_copy(self) ? record.alive() : record.age <= kSilentAfter_s)
            return refuse(self, record, what);
    }
    if (comes_back)
        log_warn("repo" + std::to_string(repository_.key) + ": stanza '" + stanza_ +
                 "' is taken back by " + describe(self) +
                 " from a copy of it that has the same name, on another machine or in another"
                 " container");
    record.came_back = comes_back;
    record.before = record.server;
    CHRONOS_TRY(own(std::move(record), self));
    return forget_note(self);
}

/// For the owner to see that somebody else came, and to learn what time it is for the repository.
/// That it cannot be written is no reason to let the other one in.
void StanzaOwner::note(const ServerIdentity& self) const {
    const auto owners = repository_.storage->info(object(self.timeline));
    Record record;
    record.server = self;
    if (owners && *owners) record.seen_at = (*owners)->modified;
    const auto noted = load(refused_object(self.timeline));
    if (noted && *noted && is_same_now((*noted)->server, self)) {
        const UnixTime since = unix_now() - (*noted)->renewed_at;
        if ((*noted)->seen_at != 0) record.seen_at = (*noted)->seen_at;
        if (since >= 0 && since < kRenewal_s && record.seen_at == (*noted)->seen_at) return;
    }
    (void)save(refused_object(self.timeline), record);
}

/// Whoever has become the owner is nobody that was refused.
Result<> StanzaOwner::forget_note(const ServerIdentity& self) const {
    const auto noted = load(refused_object(self.timeline));
    if (!noted || !*noted || !is_same_now((*noted)->server, self)) return {};
    return repository_.storage->remove(refused_object(self.timeline));
}

/// Whether the owner has renewed its record since `self`, which has its name, was refused first:
/// then they are two.
Result<bool> StanzaOwner::went_on(const Record& record, const ServerIdentity& self) const {
    const auto noted = CHRONOS_TRY(load(refused_object(self.timeline)));
    return noted && is_same_now(noted->server, self) && noted->seen_at != 0 &&
           record.modified > noted->seen_at;
}

Error StanzaOwner::refuse(const ServerIdentity& self, const Record& record, StanzaUse what) const {
    const std::string claim = "chronos --stanza=" + stanza_ + " stanza-claim";
    const std::string not_taken = what == StanzaUse::archive ? "; no WAL of " : "; no backups of ";
    const std::string where = "stanza '" + stanza_ + "' on repo" + std::to_string(repository_.key);
    const std::string copies =
        "Is this a copy? Then give it a stanza or a repository of its own, or set"
        " archive_mode = off and clear chronos.schedules.";
    const auto both_run = went_on(record, self);
    if (!record.is_of(self) || (both_run && *both_run))
        return Error(ErrorKind::archive_mismatch,
                     where + " belongs to another server, which is alive, on the same timeline: " +
                         describe(record.server) + not_taken +
                         (is_same_server(record.server, self) ? "another one of the same name"
                                                              : describe(self)) +
                         " are taken")
            .with_hint(copies)
            .with_hint("If it has replaced the other one, run: " + claim);
    return Error(ErrorKind::archive_mismatch,
                 where + " belongs to " + describe(record.server) + ", which gave a sign of life " +
                     std::to_string(record.age) +
                     " seconds ago: that may be this server before its machine was started anew or"
                     " its directory replaced, or another one of the same name" +
                     not_taken + "this one are taken yet")
        .with_hint("If it is the same, it goes on by itself in " +
                   std::to_string(std::max<UnixTime>(kSilentAfter_s + 1 - record.age, 1)) +
                   " seconds, or at once after: " + claim)
        .with_hint(copies);
}

Result<> StanzaOwner::claim(const ServerIdentity& self) const {
    Record record;
    record.claimed = true;
    CHRONOS_TRY(own(std::move(record), self));
    return repository_.storage->remove(refused_object(self.timeline));
}

Result<std::string> StanzaOwner::recently_refused(const ServerIdentity& self) const {
    const auto entry = CHRONOS_TRY(repository_.storage->info(refused_object(self.timeline)));
    if (!entry || CHRONOS_TRY(repository_now(self)) - entry->modified > kRefusedShown_s)
        return std::string();
    const auto refused = CHRONOS_TRY(load(refused_object(self.timeline)));
    return refused ? describe(refused->server) : std::string();
}

Result<std::string> StanzaOwner::owned_by_another(const ServerIdentity& self) const {
    auto record = CHRONOS_TRY(load(object(self.timeline)));
    if (!record || record->server.system_id != self.system_id ||
        is_same_directory(record->server, self))
        return std::string();
    CHRONOS_TRY(look_at_age(*record, self, self.timeline));
    if (!record->alive() || (record->is_of(self) && !CHRONOS_TRY(went_on(*record, self))))
        return std::string();
    return describe(record->server);
}

Result<std::string> StanzaOwner::used_by_another(const ServerIdentity& self) const {
    for (const storage::Entry& entry : CHRONOS_TRY(repository_.storage->list(directory()))) {
        const auto timeline = timeline_of(entry.name);
        if (!timeline) continue;
        ServerIdentity there = self;
        there.timeline = *timeline;
        std::string other = CHRONOS_TRY(owned_by_another(there));
        if (!other.empty()) return other;
    }
    return std::string();
}

Result<std::optional<ServerBeside>> StanzaOwner::beside(const ServerIdentity& self,
                                                        const std::string& archive_id) const {
    std::optional<ServerBeside> found;
    for (const storage::Entry& entry : CHRONOS_TRY(repository_.storage->list(directory()))) {
        const auto timeline = timeline_of(entry.name);
        if (!timeline || *timeline == self.timeline) continue;
        auto record = CHRONOS_TRY(load(object(*timeline)));
        if (!record || record->server.system_id != self.system_id ||
            is_same_server(record->server, self))
            continue;
        CHRONOS_TRY(look_at_age(*record, self, *timeline));
        if (!record->alive()) continue;
        if (*timeline < self.timeline && !CHRONOS_TRY(outlives(*record, self, archive_id)))
            continue;
        if (!found || *timeline > found->timeline) found = {describe(record->server), *timeline};
    }
    return found;
}

/// A former primary is not taken for one that goes on because of what it did before it was stopped.
/// Both times are of the clock of the repository.
Result<bool> StanzaOwner::outlives(const Record& record, const ServerIdentity& self,
                                   const std::string& archive_id) const {
    const auto promoted = CHRONOS_TRY(
        repository_.storage->info(timeline_history_object(stanza_, archive_id, self.timeline)));
    return !promoted || record.modified > promoted->modified + kDraining_s;
}

std::string StanzaOwner::object(Timeline timeline) const {
    return directory() + "/" + timeline_name(timeline);
}

std::string StanzaOwner::refused_object(Timeline timeline) const {
    return object(timeline) + ".refused";
}

}  // namespace chronos::repo
