#include "chronos/ops/mount/instant.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <thread>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "chronos/base/clock.h"
#include "chronos/base/directory_identity.h"
#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/crypto/hash.h"
#include "chronos/fuse/session.h"
#include "chronos/os/durable.h"
#include "chronos/os/file.h"
#include "chronos/os/process.h"
#include "chronos/repo/info.h"
#include "chronos/repo/side/mount_hold.h"
#include "chronos/storage/parallel.h"
#include "ops/mount/content.h"
#include "ops/mount/instant_places.h"
#include "ops/mount/instant_state.h"
#include "ops/mount/instant_tree.h"
#include "ops/mount/mount_info.h"
#include "ops/mount/start_set.h"

namespace chronos::ops::mount {
namespace {

/// Of what lies in bundles so much is restored at once.
constexpr std::uint64_t kAtOnceStoredMax = std::uint64_t{64} << 20;
constexpr std::size_t kStateSizeMax = std::size_t{64} << 20;
/// That hydration leaves free, beside a part of what is still to come.
constexpr std::uint64_t kFreeMin = std::uint64_t{256} << 20;
/// Hydration fetches so much at once of a file, and of all of them.
constexpr std::uint64_t kShareMax = std::uint64_t{4} << 20;
constexpr std::uint64_t kSharesMax = std::uint64_t{128} << 20;
constexpr std::chrono::seconds kNoteEvery(30);
/// How often it is looked how much is still to come, and for how long that says how fast it comes.
constexpr std::chrono::seconds kLookEvery(3), kPaceOver(60);
constexpr std::chrono::milliseconds kTryAgain(2000);
constexpr std::chrono::seconds kUntilDead(30);
constexpr std::chrono::milliseconds kLockLook(50);
constexpr std::chrono::milliseconds kUnmountEvery(500);
constexpr std::chrono::milliseconds kPartsLookEvery(100);

std::string state_path(const std::string& pg_path) {
    return instant_state_path(pg_path);
}

/// What a directory says of itself that is not whole.
struct State {
    InstantOrigin origin;
    std::uint64_t id = 0;
    std::string names;         ///< a hash of those of its files
    std::string line_for_now;  ///< of postgresql.auto.conf, until it is whole
    std::vector<std::uint32_t> numbers;
    InstantPlaces places;
};

std::string names_hash(const repo::Manifest& manifest, const std::vector<std::uint32_t>& numbers) {
    std::string all = manifest.label;
    for (const std::uint32_t number : numbers) {
        const repo::ManifestFile& file = manifest.files[number];
        all += '\0' + file.name.str() + '\0' + std::to_string(file.size);
    }
    return crypto::sha1_hex(all);
}

std::string format_state(const State& state) {
    std::string text = "version 1\nid " + std::to_string(state.id) + "\nrepo " +
                       std::to_string(state.origin.repo_key) + "\nstanza " + state.origin.stanza +
                       "\nlabel " + state.origin.label + "\nnames " + state.names;
    if (!state.line_for_now.empty()) text += "\nsetting " + state.line_for_now;
    text += "\nfiles";
    for (const std::uint32_t number : state.numbers) text += " " + std::to_string(number);
    for (const auto& [name, path] : state.places.tablespaces)
        text += "\ntablespace " + name + " " + path;
    for (const std::string& link : state.places.links) text += "\nlink " + link;
    return text + "\n";
}

Result<State> parse_state(const std::string& text, const std::string& path) {
    const Error damaged(ErrorKind::format, "'" + path + "' is not what a restore has written");
    State state;
    std::map<std::string, std::string, std::less<>> values;
    for (const std::string_view line : split(text, '\n')) {
        const std::size_t blank = line.find(' ');
        if (blank == std::string_view::npos) continue;
        const std::string_view key = line.substr(0, blank), value = line.substr(blank + 1);
        if (const std::size_t end = value.find(' ');
            key == "tablespace" && end != std::string_view::npos)
            state.places.tablespaces.emplace(value.substr(0, end), value.substr(end + 1));
        else if (key == "link")
            state.places.links.emplace(value);
        else
            values[std::string(key)] = value;
    }
    const auto id = parse_uint(values["id"]), repo = parse_uint(values["repo"]);
    if (values["version"] != "1" || !id || !repo || !text.ends_with('\n')) return damaged;
    state.id = *id;
    state.origin = {static_cast<unsigned>(*repo), values["stanza"], values["label"]};
    state.names = values["names"];
    state.line_for_now = values["setting"];
    for (const std::string_view word : split(values["files"], ' ')) {
        const auto number = parse_uint(word);
        if (!number) return damaged;
        state.numbers.push_back(static_cast<std::uint32_t>(*number));
    }
    return state;
}

Result<State> read_state(const std::string& pg_path) {
    const std::string path = state_path(pg_path) + "/backup";
    const auto text = CHRONOS_TRY(os::read_if_there(path, kStateSizeMax));
    if (!text)
        return Error(ErrorKind::path_missing,
                     "'" + pg_path + "' is no directory that a backup is still missing from");
    return parse_state(*text, path);
}

std::vector<PresenceTable::File> table_files(const repo::Manifest& manifest,
                                             const std::vector<std::uint32_t>& numbers) {
    std::vector<PresenceTable::File> files;
    files.reserve(numbers.size());
    for (const std::uint32_t number : numbers)
        files.push_back({number, manifest.files[number].size});
    return files;
}

std::string table_path(const std::string& directory) {
    return directory + "/presence";
}

Result<os::FileDescriptor> lock_table(const std::string& directory, int flags) {
    const std::string path = table_path(directory);
    os::FileDescriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600));
    if (!file.valid()) return system_error(ErrorKind::file_open, "open '" + path + "'", errno);
    // Who serves the directory has it, and nobody else meanwhile, however that process ends.
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0)
        return Error(ErrorKind::lock_acquire,
                     "another process serves '" + os::parent_directory(directory) + "'");
    return file;
}

Result<std::unique_ptr<LowerFile>> open_table(const std::string& directory, int flags) {
    // One that was killed has it until what it had to write is on disk: nothing is mounted any
    // more.
    auto locked = lock_table(directory, flags);
    for (const Deadline deadline(kUntilDead); !locked && !deadline.passed();) {
        if (locked.error().kind() != ErrorKind::lock_acquire) break;
        std::this_thread::sleep_for(kLockLook);
        locked = lock_table(directory, flags);
    }
    auto file = CHRONOS_TRY(std::move(locked));
    return std::unique_ptr<LowerFile>(new MachineFile(std::move(file), table_path(directory)));
}

/// A part of the file of an entry, for one thread of hydration: kShareMax of what can be fetched in
/// parts, else the file.
struct Share {
    std::size_t entry = 0;
    ByteRange range;
    /// What is fetched of it at once.
    std::uint64_t step_bytes() const { return std::min(range.end - range.begin, kShareMax); }
};

/// In the order in which it is best fetched: bundles from their beginning, then what is large.
std::deque<Share> hydration_order(const repo::Manifest& manifest,
                                  const std::vector<std::uint32_t>& numbers) {
    std::vector<std::size_t> entries(numbers.size());
    for (std::size_t i = 0; i < entries.size(); ++i) entries[i] = i;
    std::ranges::stable_sort(entries, [&](std::size_t a, std::size_t b) {
        const repo::ManifestFile& first = manifest.files[numbers[a]];
        const repo::ManifestFile& second = manifest.files[numbers[b]];
        const auto key = [](const repo::ManifestFile& file) {
            return std::tuple(!file.bundled(), file.reference.view(), file.bundle_id,
                              file.bundle_offset);
        };
        return key(first) < key(second);
    });
    std::deque<Share> shares;
    for (const std::size_t entry : entries) {
        const repo::ManifestFile& file = manifest.files[numbers[entry]];
        const std::uint64_t step = file.block_incremental() ? kShareMax : file.size;
        for (std::uint64_t at = 0; at < file.size; at += step)
            shares.push_back({entry, {at, std::min(file.size, at + step)}});
    }
    return shares;
}

/// A server has thousands of files open, each of which is one here.
void raise_open_files_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

InstantLayout::InstantLayout(InstantOrigin origin, const repo::Manifest& manifest)
    : origin_(std::move(origin)),
      manifest_(manifest),
      places_(std::make_unique<InstantPlaces>(manifest)),
      id_(std::random_device{}()) {
    id_ = id_ << 32 | std::random_device{}();
    std::uint64_t at_once = 0;
    std::unordered_set<const repo::ManifestFile*> needed;
    std::set<std::string, std::less<>> left_in;
    for (const repo::ManifestFile* const file : start_set(manifest)) {
        needed.insert(file);
        at_once += file->repo_size;
    }
    for (std::size_t number = 0; number < manifest.files.size(); ++number) {
        const repo::ManifestFile& file = manifest.files[number];
        if (file.size == 0 || !places_->may_leave(file.name.view())) continue;
        if (needed.contains(&file)) continue;
        if (file.bundled() && at_once + file.repo_size <= kAtOnceStoredMax) {
            at_once += file.repo_size;
            continue;
        }
        entries_.emplace(file.name.str(), numbers_.size());
        numbers_.push_back(static_cast<std::uint32_t>(number));
        left_bytes_ += file.size;
        left_in.emplace(places_->tablespace_of(file.name.view()));
    }
    // What is whole is a directory as any.
    std::erase_if(places_->tablespaces,
                  [&](const auto& place) { return !left_in.contains(place.first); });
}

InstantLayout::~InstantLayout() = default;

Result<> InstantLayout::check() const {
    return places_->check();
}

const std::vector<std::string>& InstantLayout::notes() const {
    return places_->notes;
}

bool InstantLayout::leaves(const repo::ManifestFile& file) const {
    return entries_.contains(file.name.str());
}

std::string InstantLayout::control_name() {
    return "pg_control" + std::string(InstantTree::kGuarded);
}

namespace {

Error without_attributes(const std::string& path) {
    return Error(ErrorKind::feature_not_supported,
                 "the file system of '" + path + "' has no attributes for users")
        .with_hint("Restore without --instant.");
}

}  // namespace

Result<> InstantLayout::mark(const repo::ManifestFile& file, const std::string& path,
                             bool sync) const {
    const std::string value = InstantTree::attribute_of(id_, entries_.at(file.name.str()));
    if (::lsetxattr(path.c_str(), InstantTree::kAttribute, value.data(), value.size(), 0) != 0) {
        const int error = errno;
        if (error == ENOTSUP) return without_attributes(path);
        return system_error(ErrorKind::file_write, "set an attribute of '" + path + "'", error);
    }
    // Size and time alone, by which restore --delta --force may judge, must not make it that of the
    // backup.
    if (::utimensat(AT_FDCWD, path.c_str(), nullptr, AT_SYMLINK_NOFOLLOW) != 0)
        return system_error(ErrorKind::file_write, "set the time of '" + path + "'", errno);
    if (!sync) return {};
    const os::FileDescriptor marked(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!marked.valid()) return system_error(ErrorKind::file_open, "open '" + path + "'", errno);
    return os::sync_file(marked.get(), path);
}

Result<> InstantLayout::note(const std::string& pg_path, const std::string& line_for_now) const {
    const std::string directory = state_path(pg_path);
    if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
        return system_error(ErrorKind::path_create, "make '" + directory + "'", errno);
    auto file = CHRONOS_TRY(open_table(directory, O_CREAT | O_TRUNC));
    CHRONOS_TRY(PresenceTable::make(std::move(file), id_, table_files(manifest_, numbers_)));
    const State state{origin_,      id_,      names_hash(manifest_, numbers_),
                      line_for_now, numbers_, *places_};
    CHRONOS_TRY(os::write_whole(directory + "/backup", format_state(state)));
    CHRONOS_TRY(os::sync_directory(directory));
    return os::sync_directory(pg_path);
}

Result<> check_instant(const std::string& path) {
    if (!has_user_attributes(path)) return without_attributes(path);
    return fuse::check_usable();
}

Result<InstantOrigin> instant_origin(const std::string& path) {
    return CHRONOS_TRY(read_state(path)).origin;
}

std::string instant_state_path(const std::string& pg_path) {
    return pg_path + "/" + std::string(InstantTree::kState);
}

std::string hold_id_of(std::uint64_t id) {
    return "instant-" + std::to_string(id);
}

Result<InstantNote> read_instant_note(const std::string& pg_path) {
    State state = CHRONOS_TRY(read_state(pg_path));
    return InstantNote{std::move(state.origin), state.id, std::move(state.line_for_now)};
}

Result<os::FileDescriptor> lock_instant(const std::string& pg_path, bool anew) {
    return lock_table(state_path(pg_path), anew ? O_CREAT : 0);
}

namespace {

/// How fast it comes, as of late. Any thread.
class Pace {
public:
    void note(std::uint64_t missing_bytes) {
        const std::lock_guard lock(mutex_);
        const Clock::time_point now = Clock::now();
        while (!seen_.empty() && now - seen_.front().when > kPaceOver) seen_.pop_front();
        seen_.push_back({now, missing_bytes});
    }
    /// 0 if nothing comes, or nobody knows yet.
    std::uint64_t bytes_per_second(std::uint64_t missing_bytes) const {
        const std::lock_guard lock(mutex_);
        if (seen_.empty()) return 0;
        const auto passed = std::chrono::duration_cast<std::chrono::milliseconds>(
            Clock::now() - seen_.front().when);
        const std::uint64_t before = seen_.front().missing_bytes;
        if (passed < std::chrono::milliseconds(500) || before <= missing_bytes) return 0;
        return (before - missing_bytes) * 1000 / static_cast<std::uint64_t>(passed.count());
    }

private:
    using Clock = std::chrono::steady_clock;
    struct Look {
        Clock::time_point when;
        std::uint64_t missing_bytes = 0;
    };
    mutable std::mutex mutex_;
    std::deque<Look> seen_;
};

/// A directory of the cluster that is served.
struct Served {
    std::string name;  ///< that of a tablespace in the manifest, "" of the data directory
    std::string path;
    std::uint64_t left_bytes = 0;
    std::unique_ptr<InstantTree> tree;
    std::unique_ptr<fuse::Session> session;
    std::atomic<bool> over{false};  ///< unmounted, or on the way there, by this process
    std::atomic<bool> ended{false};
    std::atomic<bool> is_full{false};
    Result<> result{};
};

Result<os::FileDescriptor> open_root(const std::string& path) {
    os::FileDescriptor root(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!root.valid()) return system_error(ErrorKind::path_open, "open '" + path + "'", errno);
    return root;
}

/// All that a directory is served with.
class Instant {
public:
    Instant(const InstantRequest& request, State state, repo::Manifest manifest)
        : request_(request),
          state_(std::move(state)),
          manifest_(std::move(manifest)),
          workers_(std::max(1U, limits_of(request.fetch, *request.repository.storage).workers)) {}
    ~Instant() {
        end();
        // Nobody shall find a cluster without one of its parts.
        for (auto served = served_.rbegin(); served != served_.rend(); ++served)
            (*served)->session = nullptr;
    }

    Result<> open(os::FileDescriptor root);
    Result<> serve(const Cancellation& cancel);

private:
    ContentLimits limits() const;
    Result<InstantTree::Before> note_start() const;
    int fetch(std::size_t entry, std::uint64_t offset, std::size_t size, bool behind,
              const fuse::Interrupted& interrupted, std::string& content);
    Served& served_of(std::size_t entry) const { return *served_[place_of_[entry]]; }
    InstantTree& tree_of(std::size_t entry) const { return *served_of(entry).tree; }
    InstantTree& data() const { return *served_.back()->tree; }
    Result<> open(Served& served, os::FileDescriptor root, InstantTree::Before before, bool guard);
    std::uint64_t missing_bytes() const;
    Result<> note_all() const;
    Result<bool> publish() const;
    bool is_unmounted();
    void serve(Served& served);
    bool has_room(std::size_t entry) const;
    bool wait(std::chrono::milliseconds duration);
    void hydrate();
    bool hydrate_share(const Share& share);
    void note();
    void finish();
    void end();
    std::string status() const;

    const InstantRequest& request_;
    const State state_;
    const repo::Manifest manifest_;
    const UnixTime since_ = unix_now();
    std::unique_ptr<repo::MountHold> held_;
    std::unique_ptr<PresenceTable> table_;
    std::unordered_map<const repo::ManifestFile*, std::size_t> entries_;
    std::string below_;  ///< what the status says of the directory itself
    std::uint64_t left_bytes_ = 0;
    std::vector<std::unique_ptr<Served>> served_;  ///< the data directory is the last
    std::vector<std::size_t> place_of_;            ///< of each entry
    std::unique_ptr<Content> content_;
    Cancellation stop_;

    const unsigned workers_;  ///< as many threads of hydration

    std::atomic<unsigned> hydrating_{0};
    Pace pace_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Share> queue_;            ///< that are to be completed
    std::uint64_t under_way_bytes_ = 0;  ///< of those that are
    bool ending_ = false;
    std::vector<std::thread> threads_;
};

ContentLimits Instant::limits() const {
    ContentLimits limits = limits_of(request_.fetch, *request_.repository.storage);
    limits.for_who_waits = std::max(1U, workers_ / 4);
    return limits;
}

int Instant::fetch(std::size_t entry, std::uint64_t offset, std::size_t size, bool behind,
                   const fuse::Interrupted& interrupted, std::string& content) {
    const repo::ManifestFile& file = manifest_.files[state_.numbers[entry]];
    return behind ? content_->read_behind(file, offset, size, interrupted, content)
                  : content_->read(file, offset, size, interrupted, content);
}

/// Whether another process may have served the directory before. That need not be durable: when the
/// power has failed there is nothing left that is not.
Result<InstantTree::Before> Instant::note_start() const {
    const std::string mark = state_path(request_.path) + "/served";
    if (::access(mark.c_str(), F_OK) == 0) return InstantTree::Before::died;
    const os::FileDescriptor file(::open(mark.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    if (!file.valid()) return system_error(ErrorKind::file_open, "make '" + mark + "'", errno);
    return InstantTree::Before::synced;
}

Result<> Instant::open(os::FileDescriptor root) {
    for (const std::uint32_t number : state_.numbers)
        if (number >= manifest_.files.size())
            return Error(ErrorKind::format, "backup " + manifest_.label + " has other files");
    if (names_hash(manifest_, state_.numbers) != state_.names)
        return Error(ErrorKind::format, "backup " + manifest_.label +
                                            " is not the one that was restored to '" +
                                            request_.path + "'");
    for (const auto& [name, path] : state_.places.tablespaces) {
        served_.push_back(std::make_unique<Served>());
        served_.back()->name = name;
        served_.back()->path = path;
    }
    served_.push_back(std::make_unique<Served>());
    served_.back()->path = request_.path;
    auto lower = CHRONOS_TRY(open_table(state_path(request_.path), 0));
    table_ = CHRONOS_TRY(
        PresenceTable::open(std::move(lower), state_.id, table_files(manifest_, state_.numbers)));
    for (std::size_t entry = 0; entry < state_.numbers.size(); ++entry) {
        const repo::ManifestFile& file = manifest_.files[state_.numbers[entry]];
        entries_.emplace(&file, entry);
        left_bytes_ += file.size;
        const std::string_view tablespace = state_.places.tablespace_of(file.name.view());
        const auto place = std::ranges::find(
            served_, tablespace,
            [](const auto& served) -> const std::string& { return served->name; });
        if (place == served_.end())
            return Error(ErrorKind::format, "'" + state_path(request_.path) + "/backup' has no " +
                                                std::string(tablespace));
        place_of_.push_back(static_cast<std::size_t>(place - served_.begin()));
        (*place)->left_bytes += file.size;
    }
    queue_ = hydration_order(manifest_, state_.numbers);
    const InstantTree::Before before = CHRONOS_TRY(note_start());
    below_ = std::string(kBelowWord) + " " + below(root.get()) + "\n";
    CHRONOS_TRY(open(*served_.back(), std::move(root), before, /*guard=*/true));
    for (const std::unique_ptr<Served>& served : served_) {
        if (served->name.empty()) continue;
        os::FileDescriptor place = CHRONOS_TRY(open_root(served->path));
        CHRONOS_TRY(open(*served, std::move(place), before, !data().is_published()));
    }
    // Of each part whoever asks is told of all of them.
    for (const std::unique_ptr<Served>& served : served_)
        served->tree->set_status(
            [this, itself = served->name.empty()] { return status() + (itself ? below_ : ""); });
    const auto entry_of = [this](const repo::ManifestFile& file) {
        const auto found = entries_.find(&file);
        return found != entries_.end() && has_room(found->second) ? std::optional(found->second)
                                                                  : std::nullopt;
    };
    content_ = std::make_unique<Content>(
        request_.repository, state_.origin.stanza, manifest_, limits(),
        [this, entry_of](const repo::ManifestFile& file, const std::vector<Piece>& pieces) {
            const auto entry = entry_of(file);
            return entry && tree_of(*entry).keep(*entry, pieces);
        },
        InPlace{[this, entry_of](const repo::ManifestFile& file, std::uint64_t offset,
                                 std::string_view content) {
                    const auto entry = entry_of(file);
                    return entry && tree_of(*entry).lay(*entry, offset, content);
                },
                [this](const repo::ManifestFile& file) {
                    const std::size_t entry = entries_.at(&file);
                    tree_of(entry).laid(entry);
                }});
    // The same for each process that serves it: the backup is needed until the directory is whole.
    auto held = repo::MountHold::take(request_.repository,
                                      {.stanza = state_.origin.stanza,
                                       .label = state_.origin.label,
                                       .path = request_.path,
                                       .exec_id = hold_id_of(state_.id),
                                       .needed_while = state_path(request_.path) + "/backup"});
    if (held)
        held_ = *std::move(held);
    else
        log_warn("backup " + state_.origin.label +
                 " may expire while it is restored: " + held.error().text());
    // A server may be started as soon as the data directory is there.
    for (const std::unique_ptr<Served>& served : served_)
        served->session = CHRONOS_TRY(fuse::Session::mount(
            *served->tree, {served->path,
                            std::string(served->name.empty() ? kMountName : kTablespaceName) +
                                ":repo" + std::to_string(state_.origin.repo_key) + ":" +
                                state_.origin.label + ":" + state_.origin.stanza,
                            /*for_all_users=*/geteuid() == 0}));
    return {};
}

Result<> Instant::open(Served& served, os::FileDescriptor root, InstantTree::Before before,
                       bool guard) {
    InstantTree::Part part;
    if (served.name.empty())
        part.links = state_.places.links;
    else
        part.kind = InstantTree::Part::Kind::tablespace;
    part.guard = guard;
    for (const std::size_t place : place_of_)
        part.entries.push_back(served_[place].get() == &served);
    served.tree = CHRONOS_TRY(InstantTree::open(
        std::move(root), served.path, state_.id, *table_,
        [this](std::size_t entry, std::uint64_t offset, std::size_t size,
               const fuse::Interrupted& interrupted, std::string& content) {
            return fetch(entry, offset, size, /*behind=*/false, interrupted, content);
        },
        before, std::move(part)));
    return {};
}

std::uint64_t Instant::missing_bytes() const {
    std::uint64_t missing = 0;
    for (const std::unique_ptr<Served>& served : served_) missing += served->tree->missing_bytes();
    return missing;
}

Result<> Instant::note_all() const {
    for (const std::unique_ptr<Served>& served : served_) CHRONOS_TRY(served->tree->note_all());
    return {};
}

/// The data directory after all others: from then on a server may be started without this.
Result<bool> Instant::publish() const {
    for (const std::unique_ptr<Served>& served : served_)
        if (!CHRONOS_TRY(served->tree->publish())) return false;
    return true;
}

bool Instant::has_room(std::size_t entry) const {
    const Served& served = served_of(entry);
    return served.tree->free_bytes() > kFreeMin + served.left_bytes / 20;
}

/// False at the end.
bool Instant::wait(std::chrono::milliseconds duration) {
    std::unique_lock lock(mutex_);
    return !changed_.wait_for(lock, duration, [&] { return ending_; });
}

/// False if a part could not be had, or has no room: it is tried again, behind the others.
bool Instant::hydrate_share(const Share& share) {
    const fuse::Interrupted ended = [this] {
        const std::lock_guard lock(mutex_);
        return ending_;
    };
    const auto from_backup = [&](std::uint64_t offset, std::size_t size,
                                 const fuse::Interrupted& interrupted, std::string& content) {
        return fetch(share.entry, offset, size, /*behind=*/true, interrupted, content);
    };
    for (std::uint64_t at = share.range.begin; at < share.range.end && !ended();) {
        const auto file = tree_of(share.entry).file_of(share.entry);
        if (file == nullptr) return true;  // the server has removed it
        Served& served = served_of(share.entry);
        // What the server has asked for needs no more room.
        if (file->missing_bytes() > 0 && !has_room(share.entry)) {
            if (!served.is_full.exchange(true))
                log_warn("'" + served.path +
                         "' is not completed while its disk has so little room");
            return false;
        }
        served.is_full = false;
        const ByteRange step{at, std::min(share.range.end, at + kShareMax)};
        bool all = false;
        if (file->complete_some(step, from_backup, ended, all) != 0) return false;
        if (!all) continue;
        file->rest();
        at = step.end;
    }
    return true;
}

void Instant::hydrate() {
    os::let_others_go_first();
    std::unique_lock lock(mutex_);
    const auto has_next = [this] {
        return ending_ || queue_.empty() || under_way_bytes_ == 0 ||
               under_way_bytes_ + queue_.front().step_bytes() <= kSharesMax;
    };
    for (;;) {
        changed_.wait(lock, has_next);
        if (ending_ || queue_.empty()) break;
        const Share share = queue_.front();
        queue_.pop_front();
        under_way_bytes_ += share.step_bytes();
        lock.unlock();
        const bool done = hydrate_share(share);
        if (!done) wait(kTryAgain / 10);
        lock.lock();
        under_way_bytes_ -= share.step_bytes();
        if (!done) queue_.push_back(share);
        changed_.notify_all();
    }
    --hydrating_;
    changed_.notify_all();
}

/// What has come is not fetched again if this process or the machine dies.
void Instant::note() {
    pace_.note(missing_bytes());
    for (Deadline next(kNoteEvery);;) {
        {
            std::unique_lock lock(mutex_);
            changed_.wait_for(lock, kLookEvery, [&] { return ending_ || hydrating_ == 0; });
            if (ending_) return;
        }
        if (hydrating_ == 0) return finish();
        pace_.note(missing_bytes());
        if (!next.passed()) continue;
        next = Deadline(kNoteEvery);
        if (const auto noted = note_all(); !noted) log_warn(noted.error().text());
    }
}

void Instant::finish() {
    for (;;) {
        const auto published = publish();
        if (!published) log_warn(published.error().text());
        if (published && *published) break;
        if (!wait(kTryAgain)) return;
    }
    // Nobody needs the backup any more, however long the server runs.
    if (held_ != nullptr) held_->release();
    held_.reset();
    log_info("'" + request_.path + "' is whole; it is served until no server runs there");
    const auto in_use = [](const auto& served) { return served->tree->in_use(); };
    do {
        if (std::ranges::none_of(served_, in_use) && is_unmounted()) return;
    } while (wait(kUnmountEvery));
}

/// Who has its working directory there keeps it.
bool Instant::is_unmounted() {
    for (const std::unique_ptr<Served>& served : served_) {
        if (served->over.exchange(true)) continue;
        if (unmount(served->path)) continue;
        served->over = false;
        return false;
    }
    return true;
}

std::string Instant::status() const {
    const ContentFigures figures = content_->figures();
    const passwd* const user = getpwuid(geteuid());
    std::string text;
    const auto add = [&](std::string_view key, const std::string& value) {
        text += std::string(key) + " " + value + "\n";
    };
    add("pid", std::to_string(getpid()));
    add("user", user == nullptr ? std::to_string(geteuid()) : user->pw_name);
    add("since", std::to_string(since_));
    add("fetches", std::to_string(figures.fetches));
    add("fetched-bytes", std::to_string(figures.fetched_bytes));
    add("cached-bytes", std::to_string(figures.cached_bytes));
    add("spooled-bytes", std::to_string(figures.spooled_bytes));
    add("failures", std::to_string(figures.failures));
    add("left-bytes", std::to_string(left_bytes_));
    const std::uint64_t missing = missing_bytes();
    add("missing-bytes", std::to_string(missing));
    const std::uint64_t pace = pace_.bytes_per_second(missing);
    add("bytes-per-second", std::to_string(pace));
    if (pace > 0) add("seconds-to-go", std::to_string((missing + pace - 1) / pace));
    const auto is_full = [](const auto& served) -> bool { return served->is_full; };
    add("waits-for-room", std::ranges::any_of(served_, is_full) ? "1" : "0");
    add("whole", data().is_published() ? "1" : "0");
    if (!figures.last_failure.empty()) add("last-failure", printable(figures.last_failure, 1000));
    return text;
}

void Instant::end() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
}

Result<> Instant::serve(const Cancellation& cancel) {
    hydrating_ = workers_;
    for (unsigned i = 0; i < workers_; ++i) threads_.emplace_back([this] { hydrate(); });
    threads_.emplace_back([this] { note(); });
    const std::string line = "backup " + state_.origin.label + " of repo" +
                             std::to_string(state_.origin.repo_key) + " is served in '" +
                             request_.path + "': " + format_size(missing_bytes()) + " of " +
                             format_size(left_bytes_) + " are to come";
    log_info(line);
    if (request_.ready) CHRONOS_TRY(request_.ready(line));
    std::vector<std::thread> serving;
    for (const std::unique_ptr<Served>& served : served_)
        serving.emplace_back([this, &served] { serve(*served); });
    // Without one of its parts a cluster is none.
    const Served* lost = nullptr;
    while (!cancel.requested() && !served_.back()->ended && lost == nullptr) {
        for (const std::unique_ptr<Served>& served : served_)
            if (served->ended && !served->over && served != served_.back()) {
                if (!served->tree->is_published()) lost = served.get();
                served->over = true;
            }
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, kPartsLookEvery);
    }
    stop_.request();
    for (std::thread& thread : serving) thread.join();
    end();
    if (data().is_published()) {
        // Whoever has ended it: no process is needed for the directory any more.
        for (const std::unique_ptr<Served>& served : served_) served->session.reset();
        if (const auto settled = settle_whole(request_.path); !settled)
            log_warn(settled.error().text());
    } else if (const auto noted = note_all(); !noted) {
        log_warn(noted.error().text());
    }
    if (lost != nullptr && !cancel.requested())
        return Error(ErrorKind::kernel, "'" + lost->path + "' was unmounted, which '" +
                                            request_.path + "' cannot do without");
    for (const std::unique_ptr<Served>& served : served_) CHRONOS_TRY(served->result);
    return {};
}

void Instant::serve(Served& served) {
    served.result = served.session->serve(stop_);
    served.ended = true;
    changed_.notify_all();
}

}  // namespace

Result<> free_dead_mount(const std::string& path) {
    for (Mount& mount : CHRONOS_TRY(mounts_unasked())) {
        if (mount.path != without_looking(path)) continue;
        look_at(mount);
        if (mount.state != Mount::State::dead)
            return Error(ErrorKind::path_not_empty, "'" + path + "' is served already")
                .with_hint("The command \"chronos mounts\" tells how far it is.");
        CHRONOS_TRY(unmount(mount.path));
    }
    return {};
}

std::vector<std::string> instant_tablespaces(const std::string& path) {
    std::vector<std::string> paths;
    if (const auto state = read_state(path))
        for (const auto& place : state->places.tablespaces) paths.push_back(place.second);
    return paths;
}

Result<> serve_instant(const InstantRequest& request, const Cancellation& cancel) {
    raise_open_files_limit();
    CHRONOS_TRY(free_dead_mount(request.path));
    const std::string path = std::filesystem::canonical(request.path).string();
    os::FileDescriptor root = CHRONOS_TRY(open_root(path));
    State state = CHRONOS_TRY(read_state(path));
    const InstantStage stage = instant_stage(path);
    if (stage == InstantStage::unfinished)
        return Error(ErrorKind::path_missing, "'" + path + "' was not restored to the end")
            .with_hint("Restore it again with --delta.");
    if (stage == InstantStage::whole) {
        // Where a server may run already, and the process has died that should have removed it.
        CHRONOS_TRY(settle_unserved(path));
        return request.ready ? request.ready("'" + path + "' is whole: no process need serve it")
                             : Result<>();
    }
    for (const auto& place : state.places.tablespaces) CHRONOS_TRY(free_dead_mount(place.second));
    const auto info = CHRONOS_TRY(repo::load_backup_info(request.repository, state.origin.stanza));
    repo::Manifest manifest =
        CHRONOS_TRY_DOING(repo::load_manifest(request.repository, state.origin.stanza,
                                              state.origin.label, info.cipher_pass),
                          "serve '" + path + "'");
    CHRONOS_TRY_DOING(repo::validate_manifest(manifest), "serve '" + path + "'");
    InstantRequest there = request;
    there.path = path;
    Instant instant(there, std::move(state), std::move(manifest));
    CHRONOS_TRY(instant.open(std::move(root)));
    return instant.serve(cancel);
}

}  // namespace chronos::ops::mount
