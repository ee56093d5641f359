#include "chronos/repo/owner.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "chronos/base/log.h"
#include "chronos/base/process_id.h"
#include "chronos/base/text.h"
#include "chronos/pgdata/control_file.h"
#include "repo/json_text.h"

namespace chronos::repo {
namespace {

constexpr UnixTime kRenewal_s = 120;
/// Renewals may be missed for as long as a server is without work, or its repository away.
constexpr UnixTime kDeadAfter_s = 360;
/// An owner that was taken for dead, and was not, gets back what is its own.
constexpr UnixTime kReturn_s = 86400;
constexpr UnixTime kRefusedShown_s = 86400;
constexpr std::size_t kSizeMax = 16384;

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
}

bool is_same_now(const ServerIdentity& a, const ServerIdentity& b) {
    return a.host == b.host && a.boot_id == b.boot_id && a.path == b.path && a.device == b.device &&
           a.inode == b.inode && a.system_id == b.system_id && a.timeline == b.timeline;
}

}  // namespace

struct StanzaOwner::Record {
    ServerIdentity server;
    ServerIdentity former;  ///< whom it was taken from, not being renewed; none if its path is ""
    bool claimed = false;
    UnixTime taken_at = 0;    ///< by the clock of whoever took it
    UnixTime renewed_at = 0;  ///< by the clock of the owner
    UnixTime modified = 0;    ///< by the clock of the repository; both once asked for
    UnixTime age = 0;         ///< since then, seconds

    bool alive() const { return age <= kDeadAfter_s; }
};

Result<ServerIdentity> identify_server(const std::string& pg_path) {
    const pgdata::ControlFile control = CHRONOS_TRY(pgdata::read_control_file(pg_path));
    struct stat status = {};
    struct statvfs file_system = {};
    if (::stat(pg_path.c_str(), &status) != 0 || ::statvfs(pg_path.c_str(), &file_system) != 0)
        return system_error(ErrorKind::file_info, "unable to look at '" + pg_path + "'", errno);
    ServerIdentity server;
    const ProcessIdentity process = ProcessIdentity::of_this_process();
    server.host = process.host;
    server.boot_id = process.boot_id;
    std::error_code failure;
    server.path = std::filesystem::canonical(pg_path, failure).string();
    if (failure) server.path = pg_path;
    server.device = status.st_dev;
    server.inode = status.st_ino;
    server.file_system = file_system.f_fsid;
    server.system_id = control.system_id;
    server.timeline = control.timeline;
    return server;
}

bool is_same_server(const ServerIdentity& a, const ServerIdentity& b) {
    const bool same_name = a.host == b.host && a.path == b.path;
    if (!a.boot_id.empty() && a.boot_id == b.boot_id)
        return (a.device == b.device && a.inode == b.inode) || same_name;
    return same_name && a.inode == b.inode && a.file_system == b.file_system;
}

std::string timeline_history_object(const std::string& stanza, const std::string& archive_id,
                                    Timeline timeline) {
    if (timeline <= 1) return "";
    std::array<char, 32> name{};
    std::snprintf(name.data(), name.size(), "%08X.history", timeline);
    return archive_path(stanza) + "/" + archive_id + "/" + name.data();
}

std::string describe(const ServerIdentity& server) {
    return "data directory '" + printable(server.path) + "' on host '" + printable(server.host) +
           "'";
}

Result<std::optional<StanzaOwner::Record>> StanzaOwner::load() const {
    auto text = storage::read_object(*repository_.storage, object(), kSizeMax);
    if (!text && text.error().kind() == ErrorKind::not_found) return std::optional<Record>();
    if (!text) return std::move(text).error().while_doing("read whose stanza '" + stanza_ + "' is");
    Record record;
    JsonReader reader(trim(*text));
    std::string_view key;
    for (reader.begin_object(); reader.next_key(key);) {
        const std::string value = reader.string();
        if (key == "claimed") record.claimed = value == "y";
        if (key == "taken-at")
            record.taken_at = static_cast<UnixTime>(parse_uint(value).value_or(0));
        if (key == "renewed-at")
            record.renewed_at = static_cast<UnixTime>(parse_uint(value).value_or(0));
        if (key.starts_with("former-"))
            set(record.former, key.substr(7), value);
        else
            set(record.server, key, value);
    }
    // Damage, or of a later version: as if there were none.
    if (!reader.finished() || record.server.path.empty()) return std::optional<Record>();
    return std::optional(std::move(record));
}

/// Costs a round trip, which an owner need not make.
Result<> StanzaOwner::look_at_age(Record& record) const {
    const auto entry = CHRONOS_TRY(repository_.storage->info(object()));
    record.modified = entry ? entry->modified : 0;
    record.age = unix_now() - record.modified;
    return {};
}

Result<> StanzaOwner::save(const ServerIdentity& self, const std::optional<ServerIdentity>& former,
                           bool claimed) const {
    std::string text = "{";
    append(text, "", self);
    append(text, "claimed", claimed ? "y" : "n");
    append(text, "taken-at", std::to_string(unix_now()));
    append(text, "renewed-at", std::to_string(unix_now()));
    if (former) append(text, "former-", *former);
    return storage::write_object(*repository_.storage, object(), text + "}\n");
}

/// Whether an owner on another timeline has made room for the server. The times are of one clock.
Result<bool> StanzaOwner::gives_way(const Record& record, const ServerIdentity& self,
                                    const std::string& archive_id) const {
    if (self.timeline < record.server.timeline) return false;
    const auto promoted = CHRONOS_TRY(
        repository_.storage->info(timeline_history_object(stanza_, archive_id, self.timeline)));
    return !promoted || record.modified <= promoted->modified;
}

Result<> StanzaOwner::use(const ServerIdentity& self, StanzaUse what,
                          const std::string& archive_id) const {
    auto record = CHRONOS_TRY(load());
    if (!record || record->server.system_id != self.system_id)
        return save(self, std::nullopt, /*claimed=*/false);
    const std::string repo = "repo" + std::to_string(repository_.key);
    if (is_same_server(record->server, self)) {
        const UnixTime since = unix_now() - record->renewed_at;
        if (is_same_now(record->server, self) && since >= 0 && since < kRenewal_s) return {};
        const bool has_former = !record->former.path.empty();
        return save(self, has_former ? std::optional(record->former) : std::nullopt,
                    record->claimed);
    }
    CHRONOS_TRY(look_at_age(*record));
    const bool dead = !record->alive();
    const bool returns =
        !record->claimed && !record->former.path.empty() && is_same_server(record->former, self) &&
        record->server.timeline == self.timeline && unix_now() - record->taken_at < kReturn_s;
    const bool other_timeline = record->server.timeline != self.timeline;
    if (what == StanzaUse::archive && other_timeline && !dead) return {};
    const bool promoted = other_timeline && CHRONOS_TRY(gives_way(*record, self, archive_id));
    if (dead || returns || promoted) {
        log_warn(repo + ": stanza '" + stanza_ + "' is taken over by " + describe(self) + " from " +
                 describe(record->server) +
                 (dead ? ", which has not used it for " + std::to_string(record->age) + " seconds"
                  : promoted ? ", after a promotion"
                             : ", which took it while this server was quiet"));
        // Who comes back is not taken from again.
        return save(self, dead ? std::optional(record->server) : std::nullopt, returns);
    }
    return refuse(self, *record, what);
}

Error StanzaOwner::refuse(const ServerIdentity& self, const Record& record, StanzaUse what) const {
    // The owner is to know; that it cannot be told is no reason to let the other one in.
    const auto noted = repository_.storage->info(refused_object());
    if (!noted || !*noted || unix_now() - (*noted)->modified >= kRenewal_s) {
        std::string text = "{";
        append(text, "", self);
        (void)storage::write_object(*repository_.storage, refused_object(), text + "}\n");
    }
    const std::string use = what == StanzaUse::archive ? "WAL" : "backups";
    return Error(ErrorKind::archive_mismatch,
                 "stanza '" + stanza_ + "' on repo" + std::to_string(repository_.key) +
                     " belongs to another server, which is alive: " + describe(record.server) +
                     "; no " + use + " of " + describe(self) + " are taken")
        .with_hint(
            "Is this a copy? Then give it a stanza or a repository of its own, or set"
            " archive_mode = off and clear chronos.schedules.")
        .with_hint("If it has replaced the other one, run: chronos --stanza=" + stanza_ +
                   " stanza-claim");
}

Result<> StanzaOwner::claim(const ServerIdentity& self) const {
    CHRONOS_TRY(save(self, std::nullopt, /*claimed=*/true));
    return repository_.storage->remove(refused_object());
}

Result<std::string> StanzaOwner::recently_refused() const {
    const auto entry = CHRONOS_TRY(repository_.storage->info(refused_object()));
    if (!entry || unix_now() - entry->modified > kRefusedShown_s) return std::string();
    const std::string text =
        CHRONOS_TRY(storage::read_object(*repository_.storage, refused_object(), kSizeMax));
    ServerIdentity server;
    JsonReader reader(trim(text));
    std::string_view key;
    for (reader.begin_object(); reader.next_key(key);) set(server, key, reader.string());
    return describe(server);
}

Result<std::string> StanzaOwner::owned_by_another(const ServerIdentity& self) const {
    auto record = CHRONOS_TRY(load());
    if (!record || record->server.system_id != self.system_id ||
        is_same_server(record->server, self))
        return std::string();
    CHRONOS_TRY(look_at_age(*record));
    if (!record->alive()) return std::string();
    return describe(record->server);
}

}  // namespace chronos::repo
