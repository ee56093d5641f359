#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <thread>
#include <utility>

#include "chronos/base/clock.h"
#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/ops/mount/instant.h"
#include "chronos/os/durable.h"
#include "chronos/os/file.h"
#include "chronos/repo/side/mount_hold.h"
#include "ops/mount/instant_state.h"
#include "ops/mount/instant_tree.h"
#include "ops/mount/mount_info.h"

namespace chronos::ops::mount {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds kWaitLook(250);
/// The process that keeps one which has died waits longer and longer until it serves it again.
constexpr std::chrono::seconds kUntilServedAgain(90);
constexpr std::chrono::seconds kUntilUnused(15), kUntilAlone(2);
constexpr std::chrono::seconds kUntilTakenOff(2), kUntilKept(5);
constexpr std::size_t kConfigSizeMax = std::size_t{16} << 20;

bool is_there(const std::string& path) {
    struct stat status = {};
    return ::lstat(path.c_str(), &status) == 0;
}

std::string guard_path(const std::string& pg_path) {
    return pg_path + "/global/" + InstantLayout::control_name();
}

/// Without it, and with all other lines as they are. The server may be running: it reads one or the
/// other.
Result<> remove_line(const std::string& path, const std::string& unwanted) {
    if (unwanted.empty()) return {};
    const auto text = CHRONOS_TRY(os::read_if_there(path, kConfigSizeMax));
    if (!text) return {};
    std::string kept;
    for (std::string_view rest = *text; !rest.empty();) {
        const std::size_t end = std::min(rest.find('\n'), rest.size() - 1) + 1;
        if (trim(rest.substr(0, end)) != unwanted) kept += rest.substr(0, end);
        rest.remove_prefix(end);
    }
    if (kept == *text) return {};
    struct stat status = {};
    if (::stat(path.c_str(), &status) != 0)
        return system_error(ErrorKind::file_info, "look at '" + path + "'", errno);
    // The name that ALTER SYSTEM uses for it: no backup has it.
    const std::string temporary = path + ".tmp";
    CHRONOS_TRY(os::write_whole(temporary, kept, status.st_mode & 07777));
    const os::FileDescriptor file(::open(temporary.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (!file.valid()) return system_error(ErrorKind::file_open, "open '" + temporary + "'", errno);
    if (::geteuid() == 0 && ::fchown(file.get(), status.st_uid, status.st_gid) != 0)
        return system_error(ErrorKind::file_owner, "set the owner of '" + temporary + "'", errno);
    if (::fchmod(file.get(), status.st_mode & 07777) != 0)
        return system_error(ErrorKind::file_mode, "set the mode of '" + temporary + "'", errno);
    CHRONOS_TRY(os::sync_file(file.get(), temporary));
    return os::publish(temporary, path);
}

/// Nothing asks for them any more: what cannot be removed stays, and does no harm.
void remove_attributes(const std::string& pg_path) {
    std::error_code failed;
    for (fs::recursive_directory_iterator
             at(pg_path, fs::directory_options::skip_permission_denied, failed),
         end;
         !failed && at != end; at.increment(failed)) {
        std::error_code unknown;
        if (at->symlink_status(unknown).type() == fs::file_type::regular)
            (void)::lremovexattr(at->path().c_str(), InstantTree::kAttribute);
    }
}

void remove_all_attributes(const std::string& pg_path,
                           const std::vector<std::string>& tablespaces) {
    remove_attributes(pg_path);
    for (const std::string& tablespace : tablespaces) remove_attributes(tablespace);
}

/// Below its mount a tablespace has had other names, under which the next restore does not find
/// what has come.
Result<> take_guards_off(const std::vector<std::string>& tablespaces) {
    for (const std::string& tablespace : tablespaces) {
        std::error_code failed;
        std::vector<std::string> guarded;
        for (fs::directory_iterator at(tablespace, failed), end; !failed && at != end;
             at.increment(failed))
            if (at->path().native().ends_with(InstantTree::kGuarded))
                guarded.push_back(at->path().string());
        for (const std::string& name : guarded)
            CHRONOS_TRY(
                os::rename_file(name, name.substr(0, name.size() - InstantTree::kGuarded.size())));
    }
    return {};
}

/// What tells of the rest goes first or last.
Result<> remove_state(const std::string& pg_path, bool note_first) {
    const std::string state = instant_state_path(pg_path);
    const std::string note = state + "/backup";
    const auto remove_note = [&]() -> Result<> {
        if (::unlink(note.c_str()) != 0 && errno != ENOENT)
            return system_error(ErrorKind::file_remove, "remove '" + note + "'", errno);
        return os::sync_directory(state);
    };
    if (!is_there(state)) return {};
    if (note_first) CHRONOS_TRY(remove_note());
    std::error_code failed;
    for (const auto& entry : fs::directory_iterator(state, failed))
        if (entry.path() != note) fs::remove_all(entry.path(), failed);
    if (!note_first) CHRONOS_TRY(remove_note());
    if (::rmdir(state.c_str()) != 0)
        return system_error(ErrorKind::path_remove, "remove '" + state + "'", errno);
    return os::sync_directory(pg_path);
}

/// nullopt if none of a backup is mounted there.
Result<std::optional<Mount>> mount_on(const std::string& path) {
    std::vector<Mount> mounts = CHRONOS_TRY(mounts_unasked());
    const auto found = std::ranges::find(mounts, path, &Mount::path);
    if (found == mounts.end()) return std::optional<Mount>();
    look_at(*found);
    return std::optional(std::move(*found));
}

std::uint64_t fact(const Mount& mount, const std::string& key) {
    const auto found = mount.facts.find(key);
    return found == mount.facts.end() ? 0 : parse_uint(found->second).value_or(0);
}

bool is_instant(const Mount& mount) {
    return mount.facts.contains("left-bytes");
}

Error restore_again(const std::string& path) {
    return Error(ErrorKind::path_missing,
                 "'" + path + "' is not whole, and what was missing is not known any more")
        .with_hint("Restore it again with --delta.");
}

Error with_ways_out(Error error, const std::string& stanza, const std::string& path) {
    const std::string command = "chronos --stanza=" + stanza + " mount ";
    return std::move(error)
        .with_hint("Serve it again with: " + command + "--remount=" + path + " --background")
        .with_hint("Or give it up with: " + command + "--abandon=" + path);
}

Error not_whole(const std::string& path) {
    const auto note = read_instant_note(path);
    return with_ways_out(
        Error(ErrorKind::path_not_empty, "'" + path + "' is not whole, and no process serves it"),
        note ? note->origin.stanza : "...", path);
}

/// Of a directory over which nothing is mounted.
Result<Finished> finish_unserved(const std::string& path) {
    switch (instant_stage(path)) {
        case InstantStage::whole: CHRONOS_TRY(settle_unserved(path)); return Finished::ended;
        case InstantStage::missing: return not_whole(path);
        case InstantStage::unfinished:
        case InstantStage::given_up: return restore_again(path);
        case InstantStage::none: break;
    }
    // It has ended by itself, or all was restored at once.
    if (is_there(path + "/" + std::string(InstantTree::kControl))) return Finished::ended;
    return Error(ErrorKind::path_missing, "no backup is mounted on '" + path + "'")
        .with_hint("The command \"chronos mounts\" lists those that are.");
}

/// Until all is there, or it ends.
class Waiting {
public:
    Waiting(std::string path, const Cancellation& cancel, const ProgressReceiver& progress)
        : path_(std::move(path)), cancel_(cancel), progress_(progress) {}

    Result<Finished> wait() {
        for (;; std::this_thread::sleep_for(kWaitLook)) {
            CHRONOS_TRY(cancel_.check());
            const auto mount = CHRONOS_TRY(mount_on(path_));
            if (mount && mount->state == Mount::State::live && is_instant(*mount)) {
                again_ = Deadline(kUntilServedAgain);
                report(*mount);
                if (fact(*mount, "whole") > 0) return end(*mount);
                continue;
            }
            // It may have ended by itself; or has died, and is served again.
            if (!mount) {
                const InstantStage stage = instant_stage(path_);
                if (stage == InstantStage::none) return Finished::ended;
                if (stage == InstantStage::given_up) return restore_again(path_);
                if (stage == InstantStage::whole)
                    if (auto done = finish_unserved(path_)) return done;
            }
            if (again_.passed()) return not_whole(path_);
        }
    }

private:
    void report(const Mount& mount) const {
        const std::uint64_t left = fact(mount, "left-bytes");
        if (progress_)
            progress_(
                {"complete", left, left - std::min(left, fact(mount, "missing-bytes")), 0, 0});
    }
    /// The process unmounts it as soon as nobody uses it.
    Result<Finished> end(const Mount& mount) {
        for (const Deadline deadline(kUntilUnused); !deadline.passed();) {
            if (server_of(path_) != 0) return Finished::in_use;
            CHRONOS_TRY(cancel_.check());
            if (!CHRONOS_TRY(mount_on(path_))) {
                wait_for_end(mount);
                return instant_stage(path_) == InstantStage::none
                           ? Result<Finished>(Finished::ended)
                           : finish_unserved(path_);
            }
            std::this_thread::sleep_for(kWaitLook);
        }
        CHRONOS_TRY(unmount_soon(path_));
        wait_for_end(mount);
        return Finished::ended;
    }

    const std::string path_;
    const Cancellation& cancel_;
    const ProgressReceiver& progress_;
    Deadline again_{kUntilServedAgain};
};

/// Whoever keeps a directory takes off what is dead there, and has it served again: that is waited
/// for, in case somebody does.
Result<std::optional<Mount>> mount_that_stays(const std::string& path, const Cancellation& cancel) {
    for (const Deadline taken_off(kUntilTakenOff), served(kUntilKept);;) {
        auto mount = CHRONOS_TRY(mount_on(path));
        const bool is_dead = mount && mount->state == Mount::State::dead;
        const bool is_left = !mount && instant_stage(path) == InstantStage::missing;
        if (!(is_dead && !taken_off.passed()) && !(is_left && !served.passed())) return mount;
        CHRONOS_TRY(cancel.check());
        std::this_thread::sleep_for(kWaitLook);
    }
}

/// Takes off what serves the directory, if nobody uses it.
Result<> stop_serving(const std::string& path) {
    const auto mount = CHRONOS_TRY(mount_on(path));
    const Error in_use =
        Error(ErrorKind::pg_running, "a server runs in '" + path + "'")
            .with_hint("Stop it first: what it has written since the restore is given up, too.");
    if (!mount) return server_of(path) == 0 ? Result<>() : in_use;
    if (mount->state == Mount::State::live) {
        if (!is_instant(*mount))
            return Error(ErrorKind::path_missing,
                         "what is mounted on '" + path + "' is no directory that is completed")
                .with_hint("End it with: chronos mount --finish=" + path);
        if (fact(*mount, "whole") > 0)
            return Error(ErrorKind::path_not_empty, "'" + path + "' is whole already")
                .with_hint("Nothing is left to be given up: chronos mount --finish=" + path);
        if (server_of(path) != 0) return in_use;
    }
    CHRONOS_TRY(unmount_soon(path));
    wait_for_end(*mount);
    return server_of(path) == 0 ? Result<>() : in_use;
}

}  // namespace

InstantStage instant_stage(const std::string& pg_path) {
    const bool guarded = is_there(guard_path(pg_path));
    const bool noted = is_there(instant_state_path(pg_path) + "/backup");
    if (guarded) return noted ? InstantStage::missing : InstantStage::given_up;
    if (!noted) return InstantStage::none;
    return is_there(pg_path + "/" + std::string(InstantTree::kControl)) ? InstantStage::whole
                                                                        : InstantStage::unfinished;
}

Result<> settle_whole(const std::string& pg_path) {
    const InstantNote note = CHRONOS_TRY(read_instant_note(pg_path));
    CHRONOS_TRY(remove_line(pg_path + "/postgresql.auto.conf", note.line_for_now));
    remove_all_attributes(pg_path, instant_tablespaces(pg_path));
    CHRONOS_TRY(remove_state(pg_path, /*note_first=*/false));
    log_info("'" + pg_path + "' is a whole data directory");
    return {};
}

Result<> settle_unserved(const std::string& pg_path) {
    // The process that has served it may do the same right now.
    const Deadline alone(kUntilAlone);
    for (const Deadline deadline(kUntilUnused);; std::this_thread::sleep_for(kWaitLook)) {
        const auto lock = lock_instant(pg_path, /*anew=*/alone.passed());
        if (instant_stage(pg_path) == InstantStage::none) return {};
        if (lock) return settle_whole(pg_path);
        if (deadline.passed()) return lock.error();
    }
}

Result<Finished> finish_served(const std::string& path, const Cancellation& cancel,
                               const ProgressReceiver& progress) {
    const std::string real = without_looking(path);
    auto mount = CHRONOS_TRY(mount_that_stays(real, cancel));
    if (!mount) return finish_unserved(real);
    if (mount->state == Mount::State::live && is_instant(*mount))
        return Waiting(real, cancel, progress).wait();
    CHRONOS_TRY(finish_mount(real));
    // What a process has left behind that was killed.
    return mount->state == Mount::State::dead && instant_stage(real) != InstantStage::none
               ? finish_unserved(real)
               : Result<Finished>(Finished::ended);
}

Result<> abandon_instant(const AbandonRequest& request) {
    const std::string path = without_looking(request.path);
    CHRONOS_TRY(stop_serving(path));
    switch (instant_stage(path)) {
        case InstantStage::none:
            return Error(ErrorKind::path_missing,
                         "'" + path + "' is no directory that a backup is still missing from");
        case InstantStage::whole:
            return Error(ErrorKind::path_not_empty, "'" + path + "' is whole already")
                .with_hint("Nothing is left to be given up: chronos mount --finish=" + path);
        case InstantStage::given_up: return remove_state(path, /*note_first=*/true);
        default: break;
    }
    const InstantNote note = CHRONOS_TRY(read_instant_note(path));
    const std::vector<std::string> tablespaces = instant_tablespaces(path);
    for (const std::string& tablespace : tablespaces) CHRONOS_TRY(free_dead_mount(tablespace));
    {
        const auto lock = CHRONOS_TRY(lock_instant(path, /*anew=*/true));
        CHRONOS_TRY(take_guards_off(tablespaces));
        CHRONOS_TRY(remove_state(path, /*note_first=*/true));
    }
    remove_all_attributes(path, tablespaces);
    log_info("'" + path + "' is given up: it lacks a part of backup " + note.origin.label);
    auto repository = request.open(note.origin);
    auto released = repository ? repo::MountHold::drop(*repository, note.origin.stanza,
                                                       note.origin.label, hold_id_of(note.id))
                               : Result<>(std::move(repository).error());
    if (!released)
        log_warn("backup " + note.origin.label +
                 " is held for an hour: " + released.error().text());
    return {};
}

Result<> check_restorable(const std::string& path) {
    const std::string real = without_looking(path);
    const auto mount = CHRONOS_TRY(mount_on(real));
    if (mount && mount->state == Mount::State::dead)
        return with_ways_out(Error(ErrorKind::path_not_empty,
                                   "'" + path + "' is the place of a mount whose process is gone"),
                             mount->stanza, real);
    if (mount && !is_instant(*mount))
        return Error(ErrorKind::path_not_empty,
                     "backup " + mount->label + " is mounted on '" + path + "'")
            .with_hint("End that with: chronos mount --finish=" + real);
    if (mount)
        return Error(ErrorKind::path_not_empty,
                     "'" + path + "' is being completed from backup " + mount->label)
            .with_hint("Wait for it with: chronos mount --finish=" + real)
            .with_hint("Or give it up with: chronos --stanza=" + mount->stanza +
                       " mount --abandon=" + real);
    if (instant_stage(real) == InstantStage::missing) return not_whole(real);
    return {};
}

}  // namespace chronos::ops::mount
