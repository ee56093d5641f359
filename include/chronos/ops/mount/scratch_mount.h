#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "chronos/base/result.h"
#include "chronos/ops/mount/fetch_settings.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/repository.h"

namespace chronos::ops::mount {

/// What this process mounts from here on is seen by it and by what it starts, and by nobody else.
/// While there is one thread, and before anything is done for a mount: what keeps this user from
/// having one is said here. Kinds: feature_not_supported, access, kernel.
Result<> keep_mounts_to_myself();

struct ScratchMountRequest {
    repo::Repository repository;
    std::string stanza;
    std::string path;          ///< absolute; an existing, empty directory
    std::string scratch_path;  ///< an empty directory, for what is written
    std::string exec_id;
    FetchSettings fetch;
    std::vector<std::string> databases = {};  ///< that are asked first; none: any of them
};

/// A backup as a data directory that a server can run in as soon as this is made: what it reads is
/// fetched then and verified, what it writes is thrown away. From a bucket what every server reads
/// at its start is fetched meanwhile. Seen by this process and by those that
/// it starts, after keep_mounts_to_myself(). It is served by threads of this object's own.
///
/// While it lives our expire leaves the backup alone.
class ScratchMount {
public:
    /// Kinds: those of fuse::Session::mount. `manifest` has passed repo::validate_manifest() and
    /// outlives it.
    static Result<std::unique_ptr<ScratchMount>> make(const ScratchMountRequest& request,
                                                      const repo::Manifest& manifest);
    /// Takes it away, also from who has files of it open, who gets an error.
    ~ScratchMount();
    ScratchMount(const ScratchMount&) = delete;
    ScratchMount& operator=(const ScratchMount&) = delete;

    /// The data directory of a ScratchMountRequest::path.
    static std::string data_of(const std::string& path);

    struct Figures {
        std::uint64_t fetches = 0;
        std::uint64_t fetched_bytes = 0;
        std::uint64_t failures = 0;
        std::string last_failure;
    };
    Figures figures() const;
    /// An error once it has lost something that was written, as on a full disk: from then on
    /// reading is an error too.
    Result<> check() const;

private:
    struct State;
    explicit ScratchMount(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace chronos::ops::mount
