#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/progress.h"
#include "chronos/base/result.h"
#include "chronos/ops/mount/fetch_settings.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/repository.h"

/// A data directory that is served while it is still being restored: docs/mount.md.
namespace chronos::ops::mount {

struct InstantPlaces;

/// Where what is missing comes from.
struct InstantOrigin {
    unsigned repo_key = 1;
    std::string stanza;
    std::string label;
};

/// What of a backup is left there at first, and how the directory that is made then says so. The
/// manifest outlives it.
class InstantLayout {
public:
    /// Looks at the places that the manifest names.
    InstantLayout(InstantOrigin origin, const repo::Manifest& manifest);
    ~InstantLayout();
    InstantLayout(const InstantLayout&) = delete;
    InstantLayout& operator=(const InstantLayout&) = delete;

    /// Kind feature_not_supported, with a hint: a cluster that has to be restored in another way.
    Result<> check() const;
    /// For people: what is restored at once that one might think is not.
    const std::vector<std::string>& notes() const;
    /// Relations that are neither small nor asked for by every start. Any thread, as of the next.
    bool leaves(const repo::ManifestFile& file) const;
    /// The file at `path` is one of them from here on, for good with `sync`: without its mark it
    /// would be one of zeros. Kinds: feature_not_supported where files cannot have attributes,
    /// file_open, file_write, file_sync.
    Result<> mark(const repo::ManifestFile& file, const std::string& path, bool sync) const;
    /// Notes in the data directory what serve_instant() needs: durable when that has been synced.
    /// `line_for_now` of postgresql.auto.conf goes when all is there; "" for none.
    Result<> note(const std::string& pg_path, const std::string& line_for_now = "") const;
    /// The name of global/pg_control until all is there.
    static std::string control_name();

    std::uint64_t left_bytes() const { return left_bytes_; }

private:
    const InstantOrigin origin_;
    const repo::Manifest& manifest_;
    std::unique_ptr<InstantPlaces> places_;
    std::uint64_t id_;
    std::vector<std::uint32_t> numbers_;  ///< of the files that are left, by their entries
    std::unordered_map<std::string, std::size_t> entries_;
    std::uint64_t left_bytes_ = 0;
};

struct InstantRequest {
    repo::Repository repository;
    std::string path;  ///< the data directory, absolute
    FetchSettings fetch;
    /// Called once, when a server can be started there; the line is for people.
    std::function<Result<>(const std::string& line)> ready;
};

/// Whether this user may serve one that is made at `path`, before anything is done for it. Kinds
/// and hints of fuse::Session::mount; feature_not_supported where files cannot have attributes.
Result<> check_instant(const std::string& path);

/// Takes away what a process that is gone has left mounted there. Kinds: path_not_empty if it is
/// served by one that lives, kernel.
Result<> free_dead_mount(const std::string& path);

/// Of a directory that is not whole, and over which nothing is mounted. Kinds: path_missing if it
/// is none, format.
Result<InstantOrigin> instant_origin(const std::string& path);

/// The tablespaces of such a directory that are served with it, by their real paths; none of one
/// that says nothing.
std::vector<std::string> instant_tablespaces(const std::string& path);

/// Serves the directory, in the place where it is, with its tablespaces in theirs, and fetches what
/// is missing meanwhile: what the server asks for first. When all is there, and the server is down
/// the next time, it unmounts the directory, which is a whole one then, and removes what it had
/// noted: success. So is it when `cancel` is requested, or somebody unmounts it, before: then it
/// goes on where it was when it is served again. Of one that is whole already it only removes what
/// was noted.
///
/// Nothing else is mounted there but what is dead, which is taken away. Our expire leaves the
/// backup alone while it is served. Kinds: those of fuse::Session::mount, of reading the manifest,
/// path_missing, format.
Result<> serve_instant(const InstantRequest& request, const Cancellation& cancel);

enum class Finished {
    ended,  ///< it is a data directory as any
    in_use  ///< it is whole, and served until the server there is stopped
};

/// Waits until a directory that is being completed is whole, and nobody serves it, or a server runs
/// in it; also while the process that serves it is replaced. `cancel` and `progress` are the
/// waiting's. What else is mounted on `path` is ended as by finish_mount(). Kinds: those,
/// path_not_empty if it is not whole and nobody serves it, path_missing if it never will be whole,
/// kernel if it is in use by others.
Result<Finished> finish_served(const std::string& path, const Cancellation& cancel,
                               const ProgressReceiver& progress);

struct AbandonRequest {
    std::string path;
    /// The repository where its backup is held.
    std::function<Result<repo::Repository>(const InstantOrigin& origin)> open;
};

/// Gives up a directory that is not whole: nobody serves it any more, nothing holds its backup.
/// Files stay, with holes where something was missing, and global/pg_control under the name that
/// keeps servers away: it is for a restore with --delta, or to be removed. What was interrupted is
/// done by the next call. Kinds: pg_running, path_missing if it is no such directory,
/// path_not_empty if it is whole, kernel if it is in use, lock_acquire.
Result<> abandon_instant(const AbandonRequest& request);

/// Whether a restore may write into the directory: nothing is mounted there, and it is not about to
/// be completed. Kind path_not_empty.
Result<> check_restorable(const std::string& path);

struct KeepRequest {
    std::string path;
    /// A program with its arguments that calls serve_instant(), says a line when the directory is
    /// served, and exits with 0 when that has succeeded.
    std::vector<std::string> command;
    /// Called once, with the first such line.
    std::function<Result<>(const std::string& line)> ready;
};

/// Has the directory served by another process, and by the next one when that dies: then the server
/// there, which cannot go on, is ended first, and to be started again by whoever has started it.
/// Returns when one has succeeded, or `cancel` is requested. If this process dies itself, the other
/// one goes on. An error is that the first one could not serve; kind execute, with what it said.
Result<> keep_instant(const KeepRequest& request, const Cancellation& cancel);

}  // namespace chronos::ops::mount
