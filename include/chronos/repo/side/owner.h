#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "chronos/base/lsn.h"
#include "chronos/base/result.h"
#include "chronos/repo/repository.h"

/// Whose a stanza is. A copy of a data directory has everything of the original - system
/// identifier, configuration, schedule - but the machine, the place and the directory itself.
namespace chronos::repo {

/// A data directory at a place, and how far its cluster has got.
struct ServerIdentity {
    std::string host;     ///< host name
    std::string boot_id;  ///< of this start of the machine
    std::string path;     ///< of the data directory, without links
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::uint64_t file_system = 0;  ///< an id of it, the same wherever it is mounted
    std::uint64_t system_id = 0;
    Timeline timeline = 0;      ///< that it writes, or follows
    bool standby = false;       ///< it follows another server
    std::string pid_namespace;  ///< where its processes were seen at work; "" if they were not
    std::uint32_t user = 0;     ///< whose the directory is
};
/// Of the cluster in a data directory; reads its control file.
Result<ServerIdentity> identify_server(const std::string& pg_path);
/// Of one that is to be there; on no timeline yet.
ServerIdentity identify_place(const std::string& pg_path, std::uint64_t system_id);

/// Whether the two may be one server, perhaps started again: the same directory on a machine that
/// runs on, or the same name and place on one that was started anew. Restored in place it is the
/// same, a copy beside it or elsewhere is not; but a copy may have the name of its original.
bool is_same_server(const ServerIdentity& a, const ServerIdentity& b);

/// The object that comes with the promotion of a server to its timeline; "" for the first one.
std::string timeline_history_object(const std::string& stanza, const std::string& archive_id,
                                    Timeline timeline);

/// "data directory '/srv/pg' on host 'db1'"
std::string describe(const ServerIdentity& server);

/// What a server wants of a stanza that another one may own.
enum class StanzaUse {
    archive,
    change,  ///< backups and what expires
};

/// A server that uses the stanza on another timeline.
struct ServerBeside {
    std::string server;  ///< as described
    Timeline timeline = 0;
};

/// Who owns a stanza: on each timeline one server, whose record
/// "chronos/<stanza>/owners/<timeline>" it renews as long as it uses the stanza. Whoever comes
/// while there is none, or when it was not renewed for six minutes, becomes the owner; so does
/// whoever claims the stanza. Another server *on the same timeline* is refused while the owner is
/// alive by the clock of the repository, which is noted beside the record for the owner to see.
///
/// The same directory is the owner at once, whenever it was started. One of the owner's name and
/// place in another directory, or on a machine that was started since, may be the owner after a
/// restore or a reboot, or a copy that runs elsewhere: it goes on at once if it is seen that
/// nothing runs in the owner's directory any more, and else when the record was not renewed for
/// four minutes. An owner that was only quiet comes back, and the other one is the copy.
///
/// A promotion begins a timeline, so whoever was promoted is never refused
/// because of the server that it replaces, and neither is that one if the promotion was an
/// accident: their WAL has other names. That two go on is told by beside(). Losing the records
/// loses nothing: the next one to come makes its own again.
class StanzaOwner {
public:
    StanzaOwner(const Repository& repository, std::string stanza)
        : repository_(repository), stanza_(std::move(stanza)) {}

    /// Kind archive_mismatch, with the way to claim it, if on its timeline the stanza belongs to
    /// another server that is alive. Writes at most every two minutes; reads once. A standby is
    /// neither refused nor made the owner: what it has is its primary's.
    Result<> use(const ServerIdentity& self, StanzaUse what) const;
    /// Makes `self` the owner on its timeline, whoever is.
    Result<> claim(const ServerIdentity& self) const;

    /// Another server that was refused within the last day, on the timeline of `self`; as
    /// described, "" if none was.
    Result<std::string> recently_refused(const ServerIdentity& self) const;
    /// Whether another server that is alive owns the timeline of `self`; as described, "" if not.
    Result<std::string> owned_by_another(const ServerIdentity& self) const;
    /// Whether any other server of its cluster that is alive owns a timeline; as described, "" if
    /// none does. Writes nothing.
    Result<std::string> used_by_another(const ServerIdentity& self) const;
    /// Another server that is alive on a later timeline, or has gone on on an earlier one since
    /// `self` left that; the one on the latest timeline. `archive_id` is that of the cluster's WAL.
    Result<std::optional<ServerBeside>> beside(const ServerIdentity& self,
                                               const std::string& archive_id) const;

private:
    struct Record;
    Result<std::optional<Record>> load(const std::string& name) const;
    Result<UnixTime> repository_now(const ServerIdentity& self) const;
    Result<> look_at_age(Record& record, const ServerIdentity& self, Timeline timeline) const;
    Result<> save(const std::string& name, const Record& record) const;
    Result<> own(Record record, const ServerIdentity& self) const;
    void note(const ServerIdentity& self) const;
    Result<> forget_note(const ServerIdentity& self) const;
    Result<bool> went_on(const Record& record, const ServerIdentity& self) const;
    Result<> use_once(const ServerIdentity& self, StanzaUse what) const;
    Result<> come_in_its_place(Record record, const ServerIdentity& self, StanzaUse what) const;
    Result<> take_over(Record record, const ServerIdentity& self, StanzaUse what) const;
    Result<bool> outlives(const Record& record, const ServerIdentity& self,
                          const std::string& archive_id) const;
    Error refuse(const ServerIdentity& self, const Record& record, StanzaUse what) const;
    std::string directory() const { return "chronos/" + stanza_ + "/owners"; }
    std::string object(Timeline timeline) const;
    std::string refused_object(Timeline timeline) const;

    const Repository& repository_;
    std::string stanza_;
};

}  // namespace chronos::repo
