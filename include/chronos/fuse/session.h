#pragma once

#include <memory>
#include <string>

#include "chronos/base/cancel.h"
#include "chronos/base/result.h"
#include "chronos/fuse/file_system.h"

namespace chronos::fuse {

/// In the list of mounted file systems, where the kernel says of which kind each is.
inline constexpr const char* kFileSystemType = "fuse.chronos";

struct MountRequest {
    std::string path;    ///< an existing directory
    std::string source;  ///< what the list of mounts calls it; without commas and white space
    /// Root's are for all users, by the modes of the files; those of others for them alone, unless
    /// /etc/fuse.conf permits more.
    bool for_all_users = false;
    /// By this process itself, whoever it is: after keep_mounts_to_myself().
    bool by_myself = false;
};

/// Whether this machine has file systems of users, and this user may make one: what there is to say
/// before anything is done for it. Kinds and hints of Session::mount.
Result<> check_usable();

/// What this process mounts from here on is seen by it and by what it starts, by nobody else, and
/// is gone with the last of them, however they end. Needs no privilege where the system lets its
/// users have namespaces of their own. While there is one thread. Kinds: feature_not_supported,
/// kernel.
Result<> keep_mounts_to_myself();

/// A mounted file system. One thread; its requests are answered by threads of its own, of which
/// there are as many as requests are under way, up to kThreadsMax.
class Session {
public:
    static constexpr unsigned kThreadsMax = 64;

    /// Read-only. By root mounted directly, by others through fusermount3. Kinds:
    /// feature_not_supported where this machine has no file systems of users (the reason, and what
    /// to do, is in the hint), access where it has none for this user, kernel. The file system must
    /// outlive it.
    static Result<std::unique_ptr<Session>> mount(FileSystem& files, const MountRequest& request);
    /// The same of one that may be written.
    static Result<std::unique_ptr<Session>> mount(WritableFileSystem& files,
                                                  const MountRequest& request);
    /// Unmounts, if nobody has: at once for whoever looks, when the last one has gone for those
    /// that have something open, which get no more answers.
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    /// Answers requests until it is unmounted, by whomever, or `cancel` is requested: both are
    /// success.
    Result<> serve(const Cancellation& cancel);

private:
    struct State;
    static Result<std::unique_ptr<Session>> mount(FileSystem& files, WritableFileSystem* writable,
                                                  const MountRequest& request);
    explicit Session(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace chronos::fuse
