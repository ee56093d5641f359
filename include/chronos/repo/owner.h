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
    Timeline timeline = 0;
};
/// Of the cluster in a data directory; reads its control file.
Result<ServerIdentity> identify_server(const std::string& pg_path);

/// Whether the two are one server, perhaps started again: the same directory on a machine that runs
/// on, or the same name and place on one that was started anew. Restored in place it is the same, a
/// copy beside it or elsewhere is not.
bool is_same_server(const ServerIdentity& a, const ServerIdentity& b);

/// The object that comes with the promotion of a server to its timeline; "" for the first one.
std::string timeline_history_object(const std::string& stanza, const std::string& archive_id,
                                    Timeline timeline);

/// "data directory '/srv/pg' on host 'db1'"
std::string describe(const ServerIdentity& server);

/// What a server wants of a stanza that another one may own.
enum class StanzaUse {
    archive,  ///< WAL: of another timeline it harms nobody, of the same one it blocks the owner's
    change,   ///< backups and what expires: for one server alone
};

/// The record of the owner, "chronos/<stanza>/owner", which the owner renews as long as it uses the
/// stanza. Whoever comes while there is none, or when it was not renewed for six minutes, becomes
/// the owner; so does a server that is the same one, and whoever claims the stanza. Another server
/// is refused while the owner is alive, which is noted beside the record for the owner to see. A
/// promoted standby is not refused, unless the owner has used the stanza after the promotion.
/// Losing the record loses nothing: the next one to come makes it again.
class StanzaOwner {
public:
    StanzaOwner(const Repository& repository, std::string stanza)
        : repository_(repository), stanza_(std::move(stanza)) {}

    /// Kind archive_mismatch, with the way to claim it, if the stanza belongs to another server
    /// that is alive. Writes at most every two minutes; reads once.
    /// `archive_id` is that of the cluster's WAL.
    Result<> use(const ServerIdentity& self, StanzaUse what, const std::string& archive_id) const;
    /// Makes `self` the owner, whoever is.
    Result<> claim(const ServerIdentity& self) const;

    /// Another server that was refused within the last day; as described, "" if none was.
    Result<std::string> recently_refused() const;
    /// Whether another server that is alive owns the stanza; as described, "" if not.
    Result<std::string> owned_by_another(const ServerIdentity& self) const;

private:
    struct Record;
    Result<bool> gives_way(const Record& record, const ServerIdentity& self,
                           const std::string& archive_id) const;
    Result<std::optional<Record>> load() const;
    Result<> look_at_age(Record& record) const;
    Result<> save(const ServerIdentity& self, const std::optional<ServerIdentity>& former,
                  bool claimed) const;
    Error refuse(const ServerIdentity& self, const Record& record, StanzaUse what) const;
    std::string object() const { return "chronos/" + stanza_ + "/owner"; }
    std::string refused_object() const { return "chronos/" + stanza_ + "/owner-refused"; }

    const Repository& repository_;
    std::string stanza_;
};

}  // namespace chronos::repo
