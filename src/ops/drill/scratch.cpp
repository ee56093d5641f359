#include "ops/drill/scratch.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "chronos/base/activity.h"
#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/os/file.h"

namespace chronos::ops::drill {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "chronos-drill-";
constexpr const char* kMarker = "chronos-drill.marker";
/// Markers, and what the system and a postmaster say of processes, have some lines.
constexpr std::size_t kFileSizeMax = std::size_t{64} << 10;

struct Marker {
    long pid = 0;
    std::string start;
    std::string stanza;
    bool made = false;
    bool kept = false;
};

std::string marker_path(const std::string& directory) {
    return directory + "/" + kMarker;
}

/// What a path is, and whether it is this user's: in /var/tmp anybody may lay out anything.
bool is_own(const std::string& path, mode_t type) {
    struct stat status {};
    return lstat(path.c_str(), &status) == 0 && (status.st_mode & S_IFMT) == type &&
           status.st_uid == geteuid();
}

std::optional<Marker> read_marker(const std::string& directory) {
    if (!is_own(directory, S_IFDIR) || !is_own(marker_path(directory), S_IFREG))
        return std::nullopt;
    const std::string content = os::read_or_empty(marker_path(directory), kFileSizeMax);
    Marker marker;
    for (const std::string_view line : split(content, '\n')) {
        const std::size_t equal = line.find('=');
        if (equal == std::string_view::npos) continue;
        const std::string_view name = line.substr(0, equal);
        const std::string_view value = line.substr(equal + 1);
        if (name == "pid") marker.pid = static_cast<long>(parse_uint(value).value_or(0));
        if (name == "start") marker.start = value;
        if (name == "stanza") marker.stanza = value;
        if (name == "made") marker.made = value == "y";
        if (name == "kept") marker.kept = value == "y";
    }
    return marker;
}

/// Returns the marker, locked: the lock ends with its holder, whatever namespace that is in.
Result<os::FileDescriptor> write_marker(const std::string& directory, const Marker& marker) {
    const std::string text = "pid=" + std::to_string(marker.pid) + "\nstart=" + marker.start +
                             "\nstanza=" + marker.stanza + "\nmade=" + (marker.made ? "y" : "n") +
                             "\nkept=" + (marker.kept ? "y" : "n") + "\n";
    const std::string path = marker_path(directory);
    const std::string temporary = path + ".new";
    os::FileDescriptor file(
        open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file.valid() || flock(file.get(), LOCK_EX | LOCK_NB) != 0 ||
        write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        return system_error(ErrorKind::file_write, "unable to write '" + temporary + "'", errno);
    if (rename(temporary.c_str(), path.c_str()) != 0)
        return system_error(ErrorKind::file_move, "unable to rename '" + temporary + "'", errno);
    return file;
}

bool is_locked(const std::string& directory) {
    const os::FileDescriptor file(
        open(marker_path(directory).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    return file.valid() && flock(file.get(), LOCK_EX | LOCK_NB) != 0;
}

/// A process id says nothing about a drill in another container that shares the directory, and a
/// lock nothing where the file system knows none: a drill is dead when both say so.
bool is_dead(const std::string& directory, const Marker& marker) {
    if (marker.kept || is_locked(directory)) return false;
    return marker.start.empty() || process_start(marker.pid) != marker.start;
}

/// All but the marker, which says whose the rest is until there is none.
Result<> remove_contents(const std::string& directory) {
    std::error_code code;
    // A command that fetched WAL ahead may end a moment after its server and still write.
    for (int attempt = 0; attempt < 20; ++attempt) {
        code.clear();
        for (fs::directory_iterator at(directory, code), end; !code && at != end;
             at.increment(code)) {
            if (at->path().filename() == kMarker) continue;
            const Activity::LongCall removing;
            fs::remove_all(at->path(), code);
            if (code) break;
        }
        // Two drills that begin at once find the same one dead.
        if (std::error_code none; !code || !fs::exists(directory, none)) return {};
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return system_error(ErrorKind::path_remove, "unable to empty '" + directory + "'",
                        code.value());
}

Result<> remove_directory(const std::string& directory, bool made) {
    CHRONOS_TRY(remove_contents(directory));
    unlink(marker_path(directory).c_str());
    if (made && rmdir(directory.c_str()) != 0 && errno != ENOENT)
        return system_error(ErrorKind::path_remove, "unable to remove '" + directory + "'", errno);
    return {};
}

/// The postmaster of a data directory, if that is really where it runs.
long running_postmaster(const std::string& data) {
    const std::string content = os::read_or_empty(data + "/postmaster.pid", kFileSizeMax);
    const std::string_view line = std::string_view(content).substr(0, content.find('\n'));
    const long pid = static_cast<long>(parse_uint(line).value_or(0));
    if (pid <= 1) return 0;
    std::error_code code;
    const fs::path where = fs::read_symlink("/proc/" + std::to_string(pid) + "/cwd", code);
    return !code && fs::equivalent(where, data, code) && !code ? pid : 0;
}

bool gone_within(long pid, const std::string& start, std::chrono::milliseconds limit) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (process_start(pid) == start) {
        if (std::chrono::steady_clock::now() >= end) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return true;
}

Result<> stop_server(const std::string& data) {
    const long pid = running_postmaster(data);
    if (pid == 0) return {};
    const std::string start = process_start(pid);
    log_info("stop the server that a drill left in '" + data + "', process " + std::to_string(pid));
    for (const int number : {SIGQUIT, SIGKILL}) {
        if (kill(static_cast<pid_t>(pid), number) != 0 && errno != ESRCH)
            return system_error(ErrorKind::kernel, "stop process " + std::to_string(pid), errno);
        if (gone_within(pid, start, std::chrono::seconds(10))) return {};
    }
    return Error(ErrorKind::pg_running,
                 "the server in '" + data + "', process " + std::to_string(pid) + ", does not end");
}

Result<> check_free_directory(const std::string& path) {
    struct stat status {};
    if (lstat(path.c_str(), &status) != 0) {
        if (errno == ENOENT) return {};
        return system_error(ErrorKind::path_open, "unable to look at '" + path + "'", errno);
    }
    if (!S_ISDIR(status.st_mode))
        return Error(ErrorKind::path_create, "'" + path + "' is no directory");
    const auto marker = read_marker(path);
    if (marker && is_dead(path, *marker)) return remove_leftover(path);
    if (marker)
        return Error(ErrorKind::path_not_empty,
                     "'" + path + "' belongs to a drill that " +
                         (marker->kept ? "was told to keep it" : "is running"))
            .with_hint("Choose another directory, or remove it if it is not needed any more.");
    std::error_code code;
    if (!fs::is_empty(path, code) || code)
        return Error(ErrorKind::path_not_empty, "'" + path + "' contains files")
            .with_hint("A drill restores only into a directory that is new or empty.");
    return {};
}

/// "<parent>/chronos-drill-XXXXXX", as a directory.
Result<std::string> make_unique(const std::string& parent) {
    std::string path = parent + "/" + kPrefix + "XXXXXX";
    if (mkdtemp(path.data()) == nullptr)
        return system_error(ErrorKind::path_create,
                            "unable to make a directory in '" + parent + "'", errno)
            .with_hint("drill-path names the directory in which drills restore.");
    return path;
}

/// Directories and links of ours in `parent`, and where they lead.
struct Candidate {
    std::string entry;
    std::string directory;
};
std::vector<Candidate> candidates(const std::string& parent) {
    std::vector<Candidate> found;
    std::error_code code;
    for (fs::directory_iterator at(parent, code), end; !code && at != end; at.increment(code)) {
        const std::string path = at->path();
        if (!at->path().filename().string().starts_with(kPrefix)) continue;
        std::error_code link_code;
        if (is_own(path, S_IFDIR)) found.push_back({path, path});
        if (is_own(path, S_IFLNK))
            found.push_back({path, fs::read_symlink(path, link_code).string()});
    }
    return found;
}

/// A link that leads to no drill's directory, or an empty directory, which a drill may have been
/// killed before it could mark. What was just made may be about to be marked.
void remove_unmarked(const Candidate& candidate) {
    struct stat status {};
    if (read_marker(candidate.directory)) return;
    constexpr UnixTime kSettled = 60;
    if (lstat(candidate.entry.c_str(), &status) != 0 || unix_now() - status.st_mtime < kSettled)
        return;
    if (S_ISLNK(status.st_mode))
        unlink(candidate.entry.c_str());
    else
        rmdir(candidate.entry.c_str());
}

}  // namespace

std::string process_start(long pid) {
    const std::string line =
        os::read_or_empty("/proc/" + std::to_string(pid) + "/stat", kFileSizeMax);
    // The name in parentheses may hold anything; the start is the 20th field behind it, the state
    // the first: a zombie does nothing any more.
    const std::size_t name_end = line.rfind(')');
    if (name_end == std::string::npos) return "";
    const auto fields = split(std::string_view(line).substr(name_end + 1), ' ');
    constexpr std::size_t kState = 1;
    constexpr std::size_t kStart = 20;
    if (fields.size() <= kStart || fields[kState] == "Z") return "";
    return std::string(fields[kStart]);
}

Result<ScratchDirectory> ScratchDirectory::create(const std::string& parent, const std::string& to,
                                                  const std::string& stanza) {
    ScratchDirectory made;
    made.stanza_ = stanza;
    made.owned_ = true;
    if (to.empty()) {
        made.scratch_.path = CHRONOS_TRY(make_unique(parent));
        made.made_ = true;
    } else {
        CHRONOS_TRY(check_free_directory(to));
        // A unique name for the link: a directory of that name, made and given up for it.
        made.link_ = CHRONOS_TRY(make_unique(parent));
        if (rmdir(made.link_.c_str()) != 0 || symlink(to.c_str(), made.link_.c_str()) != 0)
            return system_error(ErrorKind::path_create, "unable to make link '" + made.link_ + "'",
                                errno);
        made.scratch_.path = to;
        made.made_ = mkdir(to.c_str(), 0700) == 0;
        if (!made.made_ && errno != EEXIST)
            return system_error(ErrorKind::path_create, "unable to create path '" + to + "'",
                                errno);
    }
    made.marker_ = CHRONOS_TRY(write_marker(
        made.scratch_.path, {getpid(), process_start(getpid()), stanza, made.made_, false}));
    return made;
}

ScratchDirectory::ScratchDirectory(ScratchDirectory&& other) noexcept
    : scratch_(std::move(other.scratch_)),
      link_(std::move(other.link_)),
      stanza_(std::move(other.stanza_)),
      marker_(std::move(other.marker_)),
      made_(other.made_),
      owned_(other.owned_) {
    other.owned_ = false;
}

ScratchDirectory::~ScratchDirectory() {
    if (!owned_) return;
    if (!scratch_.path.empty())
        if (const auto removed = remove_directory(scratch_.path, made_); !removed)
            log_warn(removed.error().text());
    if (!link_.empty()) unlink(link_.c_str());
}

Result<> ScratchDirectory::keep() {
    marker_ = CHRONOS_TRY(write_marker(
        scratch_.path, {getpid(), process_start(getpid()), stanza_, made_, /*kept=*/true}));
    if (!link_.empty()) unlink(link_.c_str());
    owned_ = false;
    return {};
}

std::vector<std::string> find_leftovers(const std::string& parent) {
    std::vector<std::string> found;
    for (const Candidate& candidate : candidates(parent)) {
        const auto marker = read_marker(candidate.directory);
        if (marker && is_dead(candidate.directory, *marker)) found.push_back(candidate.directory);
    }
    return found;
}

Result<> remove_leftover(const std::string& path) {
    const auto marker = read_marker(path);
    if (!marker || !is_dead(path, *marker)) return {};
    CHRONOS_TRY(stop_server(path + "/data"));
    return remove_directory(path, marker->made);
}

Result<std::vector<std::string>> sweep(const std::string& scratch_parent, bool dry_run) {
    const std::vector<std::string> found = find_leftovers(scratch_parent);
    if (dry_run) return found;
    for (const std::string& path : found) {
        log_info("remove what a drill that did not end by itself left in '" + path + "'");
        CHRONOS_TRY(remove_leftover(path));
    }
    for (const Candidate& candidate : candidates(scratch_parent)) {
        const bool leads_to_removed =
            std::find(found.begin(), found.end(), candidate.directory) != found.end();
        if (candidate.entry != candidate.directory && leads_to_removed)
            unlink(candidate.entry.c_str());
        else
            remove_unmarked(candidate);
    }
    return found;
}

}  // namespace chronos::ops::drill
