#pragma once

#include <memory>
#include <string>

#include "chronos/repo/repository.h"

namespace chronos::repo {

struct LeaseRequest {
    std::string stanza;
    std::string what;     ///< "backup", "expire", ...: the command, for whoever is refused
    std::string exec_id;  ///< of the run; "" for that of the process
    /// The running server whose backup lock (db/server.h) the caller holds; "" if none. A backup
    /// that was begun with the lock of the same one has lost it, and so has ended.
    std::string server = "";
    /// The command only makes room: where nothing is left to write a sign of life with it goes on
    /// without one, until there is room.
    bool only_removes = false;
};

/// What lock files cannot tell each other that lie on different hosts, in different containers, or
/// in different lock paths: a sign of life in the repository itself, under
/// "chronos/<stanza>/run/<exec id>", of whoever changes what a stanza lists. It is renewed by a
/// thread of its own as long as the object lives, and removed with it.
///
/// Whoever was killed leaves it behind: from the same machine that is seen at once, from another
/// one when it has not been renewed for three minutes, by the clock of the repository. Of one that
/// was not seen to have ended, unfinished backups cannot be resumed. Losing it loses nothing but
/// the protection. Takes 4 requests where nobody else is at work.
class Lease {
public:
    /// Kind lock_acquire while somebody else's run is alive, or may be. Null where there is no
    /// stanza: then nothing is written, as its file system may not be mounted.
    static Result<std::unique_ptr<Lease>> take(const Repository& repository,
                                               const LeaseRequest& request);
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    /// Fails if somebody else has come meanwhile, who took this run for dead, also if he has gone
    /// again: asked before something is published or removed. Kind lock_acquire.
    Result<> prove();

private:
    struct State;
    explicit Lease(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace chronos::repo
