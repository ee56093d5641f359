#include "ops/mount/instant_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <set>
#include <utility>

#include "chronos/base/error.h"
#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/pgdata/cluster_files.h"
#include "ops/mount/tree.h"

namespace chronos::ops::mount {
namespace {

/// Of it a server extends relations and writes WAL: nothing that is only read shall take it.
constexpr std::uint64_t kFreeForServer = std::uint64_t{128} << 20;
constexpr std::uint64_t kFirstChild = 2;  ///< behind "." and ".."

/// Below the root, also where something is mounted over it.
std::string through(int root, const std::string& path) {
    return "/proc/self/fd/" + std::to_string(root) + "/" + path;
}

const char* or_itself(const std::string& path) {
    return path.empty() ? "." : path.c_str();
}

}  // namespace

/// Names and attributes are read and changed under the mutex of all, `file` by itself.
struct InstantTree::Node {
    fuse::NodeId id = 0;
    mode_t mode = 0;
    uid_t user = 0;
    gid_t group = 0;
    UnixTime modified = 0;
    std::uint64_t known = 0;  ///< how often the kernel was told of it
    std::uint64_t open = 0;

    std::shared_ptr<InstantFile> file;
    std::shared_ptr<LowerFile> pinned;  ///< it has no name any more
    std::string target;                 ///< of a link

    struct Name {
        Node* directory = nullptr;
        std::string name;
    };
    std::vector<Name> names;  ///< that lead here; the root's are none

    struct Child {
        std::uint64_t place = 0;
        NodePointer node;
    };
    Node* parent = nullptr;  ///< of a directory; the root's is itself
    bool removed = false;
    bool guarded = false;  ///< has kGuarded behind its name below
    bool is_link = false;  ///< to the directory that it is shown as
    std::map<std::string, Child, std::less<>> children;
    std::map<std::uint64_t, std::string> order;  ///< their names in the order of listing
    std::uint64_t last_place = kFirstChild;

    bool is_directory() const { return S_ISDIR(mode); }
    std::string name_below() const {
        return names.front().name + (guarded ? std::string(kGuarded) : "");
    }
};

/// Makes the nodes of what is there.
class InstantTree::Scan {
public:
    explicit Scan(InstantTree& tree) : tree_(tree) {}

    Result<> run(Node& directory, const std::string& path);

private:
    Result<> watch(dev_t device, const std::string& path);
    Result<> add(Node& directory, const std::string& path, const std::string& name);
    Result<> add_file(const NodePointer& node, const std::string& path, std::uint64_t size_bytes);
    std::optional<std::size_t> entry_of(const std::string& path) const;
    Result<bool> guard(const std::string& path, const std::string& name, mode_t mode) const;

    InstantTree& tree_;
    std::set<dev_t> devices_;
    std::map<std::pair<dev_t, ino_t>, NodePointer> several_names_;
};

Result<> InstantTree::Scan::watch(dev_t device, const std::string& path) {
    if (!devices_.insert(device).second) return {};
    const bool covered =
        CHRONOS_TRY(tree_.file_systems_.watch(device, through(tree_.root_.get(), path)));
    tree_.all_covered_ = tree_.all_covered_ && covered;
    return {};
}

Result<> InstantTree::Scan::run(Node& directory, const std::string& path) {
    const auto failed = [&](int error) {
        return system_error(ErrorKind::path_open, "list '" + tree_.root_path_ + "/" + path + "'",
                            error);
    };
    const int fd =
        ::openat(tree_.root_.get(), or_itself(path),
                 O_RDONLY | O_DIRECTORY | O_CLOEXEC | (directory.is_link ? 0 : O_NOFOLLOW));
    // What a file system has at its root is nobody's business.
    if (fd < 0 && errno == EACCES && pgdata::belongs_to_file_system(path)) return {};
    if (fd < 0) return failed(errno);
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(::fdopendir(fd), ::closedir);
    if (listing == nullptr) return failed(errno);
    struct stat status = {};
    if (::fstat(fd, &status) != 0) return failed(errno);
    directory.mode = status.st_mode;
    directory.user = status.st_uid;
    directory.group = status.st_gid;
    directory.modified = status.st_mtim.tv_sec;
    CHRONOS_TRY(watch(status.st_dev, path));
    std::vector<std::string> names;  // all, before one of them gets another name
    for (errno = 0; const dirent* const entry = ::readdir(listing.get()); errno = 0)
        if (const std::string_view name = entry->d_name; name != "." && name != "..")
            names.emplace_back(name);
    if (errno != 0) return failed(errno);
    for (const std::string& name : names) CHRONOS_TRY(add(directory, path, name));
    return {};
}

Result<> InstantTree::Scan::add(Node& directory, const std::string& path, const std::string& name) {
    const std::string place = path.empty() ? name : path + "/" + name;
    if (place == kState) return {};
    struct stat status = {};
    if (::fstatat(tree_.root_.get(), place.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
        return system_error(ErrorKind::path_open,
                            "look at '" + tree_.root_path_ + "/" + place + "'", errno);
    const bool is_link = S_ISLNK(status.st_mode) && tree_.part_.links.contains(place);
    if (is_link &&
        (::fstatat(tree_.root_.get(), place.c_str(), &status, 0) != 0 || !S_ISDIR(status.st_mode)))
        return system_error(ErrorKind::path_open,
                            "look at what '" + tree_.root_path_ + "/" + place + "' leads to",
                            errno);
    const bool is_guarded = CHRONOS_TRY(guard(path, name, status.st_mode));
    std::string_view shown = name;
    if (shown.ends_with(kGuarded) && is_guarded) shown.remove_suffix(kGuarded.size());
    if (S_ISREG(status.st_mode) && status.st_nlink > 1) {
        NodePointer& known = several_names_[{status.st_dev, status.st_ino}];
        if (known != nullptr) {
            tree_.attach(directory, shown, known);
            return {};
        }
        known = tree_.add(directory, shown, status.st_mode);
    }
    NodePointer node = tree_.child_of(directory, shown);
    if (node == nullptr) node = tree_.add(directory, shown, status.st_mode);
    node->user = status.st_uid;
    node->group = status.st_gid;
    node->modified = status.st_mtim.tv_sec;
    node->guarded = is_guarded;
    node->is_link = is_link;
    if (is_guarded) tree_.guarded_.push_back(node);
    if (node->is_directory()) return run(*node, is_guarded ? tree_.path_of(*node) : place);
    if (S_ISLNK(status.st_mode)) {
        char target[4096];
        const ssize_t size = ::readlinkat(tree_.root_.get(), place.c_str(), target, sizeof target);
        if (size > 0) node->target.assign(target, static_cast<std::size_t>(size));
    }
    if (!S_ISREG(status.st_mode)) return {};
    return add_file(node, place, static_cast<std::uint64_t>(status.st_size));
}

/// Whether it has the name of what nobody shall find past the mount; what shall have it gets it.
Result<bool> InstantTree::Scan::guard(const std::string& path, const std::string& name,
                                      mode_t mode) const {
    if (tree_.is_guarded_below(path, name)) return true;
    if (tree_.part_.kind != Part::Kind::tablespace || !tree_.part_.guard || !path.empty() ||
        !S_ISDIR(mode) || pgdata::belongs_to_file_system(name))
        return false;
    const std::string guarded = name + std::string(kGuarded);
    if (::renameat(tree_.root_.get(), name.c_str(), tree_.root_.get(), guarded.c_str()) != 0)
        return system_error(ErrorKind::file_move,
                            "move '" + tree_.root_path_ + "/" + name + "' out of the way", errno);
    return true;
}

/// That is in the attribute of a file of this mount.
std::optional<std::size_t> InstantTree::Scan::entry_of(const std::string& path) const {
    char value[64];
    const ssize_t size =
        ::lgetxattr(through(tree_.root_.get(), path).c_str(), kAttribute, value, sizeof value);
    if (size <= 0) return std::nullopt;
    const std::vector<std::string_view> parts =
        split(std::string_view(value, static_cast<std::size_t>(size)), ':');
    if (parts.size() != 2 || parse_uint(parts[0]) != tree_.id_) return std::nullopt;
    const auto entry = parse_uint(parts[1]);
    if (!entry || *entry >= tree_.table_.entry_count()) return std::nullopt;
    return static_cast<std::size_t>(*entry);
}

Result<> InstantTree::Scan::add_file(const NodePointer& node, const std::string& path,
                                     std::uint64_t size_bytes) {
    const auto entry = entry_of(path);
    if (!entry) {
        node->file = std::make_shared<InstantFile>(tree_.opener_of(node), size_bytes);
        return {};
    }
    if (!tree_.of_entry_[*entry].expired())
        return Error(ErrorKind::format, "'" + tree_.root_path_ + "/" + path +
                                            "' is a copy of a file that is not whole")
            .with_hint("Remove what was copied there.");
    node->file = std::make_shared<InstantFile>(
        tree_.opener_of(node), size_bytes, tree_.table_, *entry,
        [&tree = tree_, number = *entry](std::uint64_t offset, std::size_t size,
                                         const fuse::Interrupted& interrupted,
                                         std::string& content) {
            return tree.fetch_(number, offset, size, interrupted, content);
        });
    node->file->keep_while([&tree = tree_] { return tree.free_bytes() > kFreeForServer; });
    tree_.of_entry_[*entry] = node->file;
    tree_.node_of_entry_[*entry] = node;
    return {};
}

InstantTree::InstantTree(os::FileDescriptor root, std::string path, std::uint64_t id,
                         PresenceTable& table, FetchOf fetch, Part part)
    : root_(std::move(root)),
      root_path_(std::move(path)),
      id_(id),
      table_(table),
      fetch_(std::move(fetch)),
      part_(std::move(part)),
      of_entry_(table.entry_count()),
      node_of_entry_(table.entry_count()) {
    const auto node = std::make_shared<Node>();
    node->id = ++last_id_;
    node->mode = S_IFDIR | 0700;
    node->parent = node.get();
    nodes_.emplace(node->id, node);
}

InstantTree::~InstantTree() = default;

std::string InstantTree::attribute_of(std::uint64_t id, std::size_t entry) {
    return std::to_string(id) + ":" + std::to_string(entry);
}

Result<std::unique_ptr<InstantTree>> InstantTree::open(os::FileDescriptor root, std::string path,
                                                       std::uint64_t id, PresenceTable& table,
                                                       FetchOf fetch, Before before, Part part) {
    std::unique_ptr<InstantTree> tree(new InstantTree(std::move(root), std::move(path), id, table,
                                                      std::move(fetch), std::move(part)));
    CHRONOS_TRY(Scan(*tree).run(*tree->nodes_.at(fuse::kRoot), ""));
    tree->published_ = tree->guarded_.empty();
    // What a process that has died has written may be nowhere but in memory, and who replays the
    // WAL finds it done.
    if (before == Before::died) CHRONOS_TRY(tree->sync_below());
    for (std::size_t entry = 0; entry < tree->of_entry_.size(); ++entry) {
        // Nobody can have removed one yet.
        const bool is_here = tree->part_.entries.empty() || tree->part_.entries[entry];
        if (before == Before::synced && is_here && tree->of_entry_[entry].expired())
            return Error(ErrorKind::format,
                         "'" + tree->root_path_ + "' has lost what its files are known by")
                .with_hint("Restore the backup again.");
        if (const auto file = tree->of_entry_[entry].lock()) {
            CHRONOS_TRY_DOING(file->resume(), "resume '" + tree->root_path_ + "'");
            file->rest();
        }
    }
    return tree;
}

/// Where one call does not do for all, each file and directory for itself.
Result<> InstantTree::sync_below() {
    CHRONOS_TRY(file_systems_.sync());
    if (all_covered_) return {};
    std::vector<std::pair<std::string, bool>> paths;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [id, node] : nodes_)
            if (!node->removed && (node->is_directory() || !node->names.empty()) &&
                (node->is_directory() || node->file != nullptr))
                paths.emplace_back(path_of(*node), node->is_directory());
    }
    for (const auto& [path, is_directory] : paths) {
        const os::FileDescriptor file(
            ::openat(root_.get(), or_itself(path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
        // Gone meanwhile.
        if (!file.valid() && errno == ENOENT) continue;
        if (!file.valid())
            return system_error(ErrorKind::file_sync, "sync '" + root_path_ + "/" + path + "'",
                                errno);
        CHRONOS_TRY(is_directory ? os::sync_directory(file.get(), path)
                                 : os::sync_file(file.get(), path));
    }
    return {};
}

std::shared_ptr<InstantFile> InstantTree::file_of(std::size_t entry) const {
    const std::lock_guard lock(mutex_);
    return of_entry_[entry].lock();
}

bool InstantTree::keep(std::size_t entry, const std::vector<Piece>& pieces) {
    const auto file = file_of(entry);
    return file == nullptr || file->keep(pieces);
}

bool InstantTree::lay(std::size_t entry, std::uint64_t offset, std::string_view content) {
    const auto file = file_of(entry);
    return file == nullptr || file->lay(offset, content);
}

void InstantTree::laid(std::size_t entry) {
    if (const auto file = file_of(entry)) file->laid();
}

std::uint64_t InstantTree::missing_bytes() const {
    std::uint64_t missing = 0;
    for (std::size_t entry = 0; entry < of_entry_.size(); ++entry)
        if (const auto file = file_of(entry)) missing += file->missing_bytes();
    return missing;
}

Result<> InstantTree::note_all() {
    std::vector<std::pair<std::shared_ptr<InstantFile>, InstantFile::Due>> all;
    for (std::size_t entry = 0; entry < of_entry_.size(); ++entry)
        if (auto file = file_of(entry)) {
            InstantFile::Due due = file->due();
            if (!due.sectors.empty()) all.emplace_back(std::move(file), std::move(due));
        }
    if (all.empty()) return {};
    CHRONOS_TRY(sync_below());
    for (const auto& [file, due] : all)
        if (const int error = file->store(due); error != 0)
            return system_error(ErrorKind::file_write, "note what is whole", error);
    if (const int error = table_.sync(); error != 0)
        return system_error(ErrorKind::file_sync, "note what is whole", error);
    return {};
}

bool InstantTree::is_published() const {
    const std::lock_guard lock(mutex_);
    return published_;
}

/// Nobody reads them any more: without them a copy of the directory is one of any.
void InstantTree::remove_attributes() {
    for (const std::weak_ptr<Node>& of_entry : node_of_entry_) {
        const NodePointer node = of_entry.lock();
        if (node == nullptr || node->names.empty()) continue;
        ::lremovexattr(through(root_.get(), path_of(*node)).c_str(), kAttribute);
    }
}

Result<bool> InstantTree::publish() {
    if (is_published()) return true;
    CHRONOS_TRY(note_all());
    for (std::size_t entry = 0; entry < of_entry_.size(); ++entry)
        if (const auto file = file_of(entry); file != nullptr && !file->settled()) return false;
    const std::lock_guard lock(mutex_);
    for (const std::weak_ptr<Node>& guarded : guarded_)
        if (const NodePointer node = guarded.lock(); node != nullptr && !node->names.empty())
            CHRONOS_TRY(take_guard_off(*node));
    guarded_.clear();
    published_ = true;
    remove_attributes();
    return true;
}

/// For good.
Result<> InstantTree::take_guard_off(Node& node) {
    const std::string guard = path_of(node);
    const std::string path = path_in(*node.names.front().directory, node.names.front().name);
    if (guard != path && ::renameat(root_.get(), guard.c_str(), root_.get(), path.c_str()) != 0)
        return system_error(ErrorKind::file_move, "publish '" + root_path_ + "/" + path + "'",
                            errno);
    node.guarded = false;
    const std::string directory = path_of(*node.names.front().directory);
    const os::FileDescriptor names(
        ::openat(root_.get(), or_itself(directory), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!names.valid())
        return system_error(ErrorKind::path_open, "open '" + root_path_ + "/" + directory + "'",
                            errno);
    return os::sync_directory(names.get(), root_path_ + "/" + directory);
}

bool InstantTree::in_use() const {
    const std::lock_guard lock(mutex_);
    return open_files_ > 0;
}

std::uint64_t InstantTree::free_bytes() const {
    struct statvfs status = {};
    if (::fstatvfs(root_.get(), &status) != 0) return 0;
    return std::uint64_t{status.f_bavail} * status.f_frsize;
}

// ---- names: all under the mutex ---------------------------------------------------------------

InstantTree::NodePointer InstantTree::find(fuse::NodeId id) const {
    const auto found = nodes_.find(id);
    return found == nodes_.end() ? nullptr : found->second;
}

int InstantTree::find_directory(fuse::NodeId id, NodePointer& directory) const {
    directory = find(id);
    if (directory == nullptr) return ENOENT;
    return directory->is_directory() ? 0 : ENOTDIR;
}

InstantTree::NodePointer InstantTree::child_of(const Node& directory, std::string_view name) const {
    const auto found = directory.children.find(name);
    return found == directory.children.end() ? nullptr : found->second.node;
}

void InstantTree::attach(Node& directory, std::string_view name, const NodePointer& node) {
    const std::uint64_t place = ++directory.last_place;
    directory.children.emplace(name, Node::Child{place, node});
    directory.order.emplace(place, name);
    node->names.push_back({&directory, std::string(name)});
    if (node->is_directory()) node->parent = &directory;
}

/// The node stays, without this name.
void InstantTree::detach(Node& directory, std::string_view name) {
    const auto found = directory.children.find(name);
    std::erase_if(found->second.node->names, [&](const Node::Name& is) {
        return is.directory == &directory && is.name == name;
    });
    directory.order.erase(found->second.place);
    directory.children.erase(found);
}

InstantTree::NodePointer InstantTree::add(Node& directory, std::string_view name, mode_t mode) {
    auto node = std::make_shared<Node>();
    node->id = ++last_id_;
    node->mode = mode;
    nodes_.emplace(node->id, node);
    attach(directory, name, node);
    return node;
}

/// What nobody can ask for any more.
void InstantTree::drop_if_unused(const NodePointer& node) {
    if (!node->names.empty() || node->open > 0) return;
    node->file.reset();
    node->pinned.reset();
    if (node->known == 0) nodes_.erase(node->id);
}

std::string InstantTree::path_in(const Node& directory, std::string_view name) const {
    std::string path(name);
    for (const Node* at = &directory; at->parent != at; at = at->parent)
        path = at->name_below() + "/" + path;
    return path;
}

/// Of one that has a name.
std::string InstantTree::path_of(const Node& node) const {
    if (node.names.empty()) return "";  // the root
    const std::string path = path_in(*node.names.front().directory, node.name_below());
    // The directory, not the link.
    return node.is_link ? path + "/." : path;
}

/// Of the root's, whose path is empty, or of one below it.
bool InstantTree::is_guarded_below(const std::string& path, std::string_view name) const {
    if (!name.ends_with(kGuarded)) return false;
    if (part_.kind == Part::Kind::tablespace) return path.empty();
    name.remove_suffix(kGuarded.size());
    return kControl == path + "/" + std::string(name);
}

bool InstantTree::has_guard() const {
    return std::ranges::any_of(guarded_, [](const auto& node) { return !node.expired(); });
}

/// What is not seen in the mount nobody can make there either.
bool InstantTree::is_reserved(const Node& directory, std::string_view name) const {
    if (directory.id == fuse::kRoot && name == kState) return true;
    std::string path = path_in(directory, "");
    if (!path.empty()) path.pop_back();
    return is_guarded_below(path, name);
}

fuse::Attributes InstantTree::status_attributes(const Node& root) const {
    fuse::Attributes result;
    result.node = kStatusNode;
    result.mode = S_IFREG | 0400;
    result.user = root.user;
    result.group = root.group;
    result.modified = root.modified;
    return result;
}

fuse::Attributes InstantTree::attributes_of(const Node& node) const {
    fuse::Attributes result;
    result.node = node.id;
    result.mode = node.mode;
    result.user = node.user;
    result.group = node.group;
    result.modified = node.modified;
    result.links = static_cast<unsigned>(node.names.size());
    if (node.file != nullptr) result.size = node.file->size_bytes();
    if (S_ISLNK(node.mode)) result.size = node.target.size();
    if (node.is_directory()) {
        result.size = 4096;
        result.links = 2;
        for (const auto& [name, child] : node.children)
            if (child.node->is_directory()) ++result.links;
    }
    return result;
}

InstantFile::Open InstantTree::opener_of(const NodePointer& node) {
    return [this, known = std::weak_ptr<Node>(node)](std::shared_ptr<LowerFile>& file) {
        return open_lower(known, file);
    };
}

/// Under the mutex. Invalid, with errno.
os::FileDescriptor InstantTree::open_at(const std::string& path) const {
    os::FileDescriptor opened(::openat(root_.get(), path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    // A server has files that it does not permit itself to write.
    if (!opened.valid() && errno == EACCES)
        opened = os::FileDescriptor(
            ::openat(root_.get(), path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    return opened;
}

/// Takes the mutex, while whoever asks has that of the file.
int InstantTree::open_lower(const std::weak_ptr<Node>& known,
                            std::shared_ptr<LowerFile>& file) const {
    const std::lock_guard lock(mutex_);
    const NodePointer node = known.lock();
    if (node == nullptr) return ENOENT;
    if (node->pinned != nullptr) {
        file = node->pinned;
        return 0;
    }
    if (node->names.empty()) return ENOENT;
    const std::string path = path_of(*node);
    os::FileDescriptor opened = open_at(path);
    if (!opened.valid()) {
        const int error = errno;
        log_warn(system_error(ErrorKind::file_open, "open '" + root_path_ + "/" + path + "'", error)
                     .text());
        return error == EMFILE || error == ENFILE || error == EACCES ? error : EIO;
    }
    file = std::make_shared<MachineFile>(std::move(opened), root_path_ + "/" + path);
    return 0;
}

/// Before its last name goes, while somebody has it open.
int InstantTree::pin(Node& node) {
    if (node.file == nullptr || node.open == 0 || node.names.size() > 1) return 0;
    const std::string path = path_of(node);
    os::FileDescriptor opened(::openat(root_.get(), path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (!opened.valid()) return errno;
    node.pinned = std::make_shared<MachineFile>(std::move(opened), root_path_ + "/" + path);
    return 0;
}

int InstantTree::lookup(fuse::NodeId directory, std::string_view name, fuse::Attributes& found) {
    const std::lock_guard lock(mutex_);
    NodePointer parent;
    if (const int error = find_directory(directory, parent); error != 0) return error;
    const NodePointer node = child_of(*parent, name);
    if (node == nullptr && directory == fuse::kRoot && name == Tree::kStatusName && status_) {
        found = status_attributes(*parent);
        return 0;
    }
    if (node == nullptr) return ENOENT;
    ++node->known;
    found = attributes_of(*node);
    return 0;
}

int InstantTree::attributes(fuse::NodeId id, fuse::Attributes& found) {
    if (id == kStatusNode) {
        const std::lock_guard lock(mutex_);
        found = status_attributes(*nodes_.at(fuse::kRoot));
        return 0;
    }
    const std::lock_guard lock(mutex_);
    const NodePointer node = find(id);
    if (node == nullptr) return ENOENT;
    found = attributes_of(*node);
    return 0;
}

int InstantTree::list(fuse::NodeId id, std::uint64_t first, const AddEntry& add_entry) {
    const std::lock_guard lock(mutex_);
    NodePointer directory;
    if (const int error = find_directory(id, directory); error != 0) return error;
    if (first < 1 && !add_entry(".", attributes_of(*directory), 1)) return 0;
    if (first < kFirstChild && !add_entry("..", attributes_of(*directory->parent), kFirstChild))
        return 0;
    for (auto at = directory->order.upper_bound(first); at != directory->order.end(); ++at)
        if (!add_entry(at->second, attributes_of(*child_of(*directory, at->second)), at->first))
            return 0;
    return 0;
}

int InstantTree::open(fuse::NodeId id, fuse::Opened& how) {
    how.size_unknown = id == kStatusNode;
    if (how.size_unknown) return 0;
    const std::lock_guard lock(mutex_);
    const NodePointer node = find(id);
    if (node == nullptr) return ENOENT;
    if (node->file == nullptr)
        return node->is_directory() ? EISDIR : S_ISLNK(node->mode) ? ELOOP : ENXIO;
    ++node->open;
    ++open_files_;
    return 0;
}

void InstantTree::release(fuse::NodeId id) {
    std::shared_ptr<InstantFile> resting;
    {
        const std::lock_guard lock(mutex_);
        const NodePointer node = find(id);
        if (node == nullptr || node->open == 0) return;
        --open_files_;
        if (--node->open == 0) resting = node->file;
        drop_if_unused(node);
    }
    if (resting != nullptr) resting->rest();
}

void InstantTree::forget(fuse::NodeId id, std::uint64_t times) {
    const std::lock_guard lock(mutex_);
    const NodePointer node = find(id);
    if (node == nullptr || id == fuse::kRoot) return;
    node->known -= std::min(node->known, times);
    drop_if_unused(node);
}

/// Whether something may be made under the name, and where that is below.
int InstantTree::check_new(fuse::NodeId id, std::string_view name, NodePointer& parent,
                           std::string& path) const {
    if (const int error = find_directory(id, parent); error != 0) return error;
    // Removed, and yet somebody's working directory.
    if (parent->removed) return ENOENT;
    if (is_reserved(*parent, name)) return EACCES;
    if (child_of(*parent, name) != nullptr) return EEXIST;
    path = path_in(*parent, name);
    return 0;
}

/// By root for another one.
int InstantTree::give(const std::string& path, const fuse::Making& making) const {
    if (making.user == ::geteuid() && making.group == ::getegid()) return 0;
    return ::fchownat(root_.get(), path.c_str(), making.user, making.group, AT_SYMLINK_NOFOLLOW) ==
                   0
               ? 0
               : errno;
}

InstantTree::NodePointer InstantTree::made(Node& directory, std::string_view name, mode_t mode,
                                           const fuse::Making& making) {
    NodePointer node = add(directory, name, mode);
    node->user = making.user;
    node->group = making.group;
    node->modified = directory.modified = unix_now();
    ++node->known;
    return node;
}

int InstantTree::create(fuse::NodeId directory, std::string_view name, const fuse::Making& making,
                        fuse::Attributes& made_now) {
    const std::lock_guard lock(mutex_);
    NodePointer parent;
    std::string path;
    if (const int error = check_new(directory, name, parent, path); error != 0) return error;
    const os::FileDescriptor file(::openat(
        root_.get(), path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file.valid()) return errno;
    int error = ::fchmod(file.get(), making.mode & 07777) == 0 ? 0 : errno;
    if (error == 0) error = give(path, making);
    if (error != 0) {
        ::unlinkat(root_.get(), path.c_str(), 0);
        return error;
    }
    const NodePointer node = made(*parent, name, S_IFREG | (making.mode & 07777), making);
    node->file = std::make_shared<InstantFile>(opener_of(node), 0, /*is_new=*/true);
    ++node->open;
    ++open_files_;
    made_now = attributes_of(*node);
    return 0;
}

int InstantTree::make_directory(fuse::NodeId directory, std::string_view name,
                                const fuse::Making& making, fuse::Attributes& made_now) {
    const std::lock_guard lock(mutex_);
    NodePointer parent;
    std::string path;
    if (const int error = check_new(directory, name, parent, path); error != 0) return error;
    if (::mkdirat(root_.get(), path.c_str(), 0700) != 0) return errno;
    int error = ::fchmodat(root_.get(), path.c_str(), making.mode & 07777, 0) == 0 ? 0 : errno;
    if (error == 0) error = give(path, making);
    if (error != 0) {
        ::unlinkat(root_.get(), path.c_str(), AT_REMOVEDIR);
        return error;
    }
    made_now = attributes_of(*made(*parent, name, S_IFDIR | (making.mode & 07777), making));
    return 0;
}

int InstantTree::make_symlink(fuse::NodeId directory, std::string_view name,
                              std::string_view target, const fuse::Making& making,
                              fuse::Attributes& made_now) {
    const std::lock_guard lock(mutex_);
    NodePointer parent;
    std::string path;
    if (const int error = check_new(directory, name, parent, path); error != 0) return error;
    if (::symlinkat(std::string(target).c_str(), root_.get(), path.c_str()) != 0) return errno;
    if (const int error = give(path, making); error != 0) {
        ::unlinkat(root_.get(), path.c_str(), 0);
        return error;
    }
    const NodePointer node = made(*parent, name, S_IFLNK | 0777, making);
    node->target = target;
    made_now = attributes_of(*node);
    return 0;
}

int InstantTree::make_special(fuse::NodeId directory, std::string_view name, fuse::Special kind,
                              const fuse::Making& making, fuse::Attributes& made_now) {
    const std::lock_guard lock(mutex_);
    NodePointer parent;
    std::string path;
    if (const int error = check_new(directory, name, parent, path); error != 0) return error;
    const mode_t type = kind == fuse::Special::socket ? S_IFSOCK : S_IFIFO;
    if (::mknodat(root_.get(), path.c_str(), type | 0600, 0) != 0) return errno;
    int error = ::fchmodat(root_.get(), path.c_str(), making.mode & 07777, 0) == 0 ? 0 : errno;
    if (error == 0) error = give(path, making);
    if (error != 0) {
        ::unlinkat(root_.get(), path.c_str(), 0);
        return error;
    }
    made_now = attributes_of(*made(*parent, name, type | (making.mode & 07777), making));
    return 0;
}

int InstantTree::read_symlink(fuse::NodeId id, std::string& target) {
    const std::lock_guard lock(mutex_);
    const NodePointer node = find(id);
    if (node == nullptr) return ENOENT;
    if (!S_ISLNK(node->mode)) return EINVAL;
    target = node->target;
    return 0;
}

int InstantTree::link(fuse::NodeId file, fuse::NodeId directory, std::string_view name,
                      fuse::Attributes& now) {
    const std::lock_guard lock(mutex_);
    const NodePointer node = find(file);
    NodePointer parent;
    std::string path;
    if (const int error = check_new(directory, name, parent, path); error != 0) return error;
    // What has no name left is gone with its last user.
    if (node == nullptr || node->names.empty()) return ENOENT;
    if (node->is_directory() || node->guarded) return EPERM;
    if (::linkat(root_.get(), path_of(*node).c_str(), root_.get(), path.c_str(), 0) != 0)
        return errno;
    attach(*parent, name, node);
    parent->modified = unix_now();
    ++node->known;
    now = attributes_of(*node);
    return 0;
}

int InstantTree::unlink(fuse::NodeId directory, std::string_view name) {
    const std::lock_guard lock(mutex_);
    NodePointer parent;
    if (const int error = find_directory(directory, parent); error != 0) return error;
    const NodePointer node = child_of(*parent, name);
    if (node == nullptr) return ENOENT;
    if (node->is_directory()) return EISDIR;
    if (node->guarded) return EBUSY;
    if (const int error = pin(*node); error != 0) return error;
    if (::unlinkat(root_.get(), path_in(*parent, name).c_str(), 0) != 0) return errno;
    detach(*parent, name);
    parent->modified = unix_now();
    drop_if_unused(node);
    return 0;
}

int InstantTree::remove_directory(fuse::NodeId directory, std::string_view name) {
    const std::lock_guard lock(mutex_);
    NodePointer parent;
    if (const int error = find_directory(directory, parent); error != 0) return error;
    const NodePointer node = child_of(*parent, name);
    if (node == nullptr) return ENOENT;
    if (!node->is_directory()) return ENOTDIR;
    if (node->is_link) return ENOTDIR;
    if (!node->children.empty()) return ENOTEMPTY;
    if (::unlinkat(root_.get(), path_of(*node).c_str(), AT_REMOVEDIR) != 0) return errno;
    detach(*parent, name);
    node->parent = node.get();  // its own may go before it is forgotten
    node->removed = true;
    parent->modified = unix_now();
    drop_if_unused(node);
    return 0;
}

int InstantTree::rename(fuse::NodeId directory, std::string_view name, fuse::NodeId new_directory,
                        std::string_view new_name, bool keep_existing) {
    const std::lock_guard lock(mutex_);
    NodePointer from, to;
    if (const int error = find_directory(directory, from); error != 0) return error;
    if (const int error = find_directory(new_directory, to); error != 0) return error;
    const NodePointer node = child_of(*from, name);
    if (node == nullptr || to->removed) return ENOENT;
    const NodePointer replaced = child_of(*to, new_name);
    if (replaced != nullptr && keep_existing) return EEXIST;
    if (is_reserved(*to, new_name)) return EACCES;
    if (node->guarded || (replaced != nullptr && replaced->guarded)) return EBUSY;
    // What is guarded is looked for by its path.
    if (has_guard() && node->is_directory() && from->id == fuse::kRoot && name == "global")
        return EBUSY;
    // The same file by two names: both stay, as POSIX has it.
    if (replaced == node) return 0;
    if (replaced != nullptr)
        if (const int error = pin(*replaced); error != 0) return error;
    const unsigned flags = keep_existing ? RENAME_NOREPLACE : 0;
    if (::renameat2(root_.get(), path_in(*from, name).c_str(), root_.get(),
                    path_in(*to, new_name).c_str(), flags) != 0) {
        const int error = errno;
        if (replaced != nullptr) replaced->pinned.reset();
        return error;
    }
    if (replaced != nullptr) {
        detach(*to, new_name);
        if (replaced->is_directory()) {
            replaced->parent = replaced.get();
            replaced->removed = true;
        }
        drop_if_unused(replaced);
    }
    detach(*from, name);
    attach(*to, new_name, node);
    from->modified = to->modified = unix_now();
    return 0;
}

// ---- files ------------------------------------------------------------------------------------

int InstantTree::find_file(fuse::NodeId id, std::shared_ptr<InstantFile>& file, bool written) {
    const std::lock_guard lock(mutex_);
    const NodePointer node = find(id);
    if (node == nullptr) return ENOENT;
    if (node->file == nullptr) return EISDIR;
    if (written) node->modified = unix_now();
    file = node->file;
    return 0;
}

int InstantTree::read(fuse::NodeId id, std::uint64_t offset, std::size_t size,
                      const fuse::Interrupted& interrupted, std::string& content) {
    if (id == kStatusNode) {
        const std::string text = status_();
        content = offset < text.size() ? text.substr(offset, size) : "";
        return 0;
    }
    std::shared_ptr<InstantFile> file;
    if (const int error = find_file(id, file, /*written=*/false); error != 0) return error;
    return file->read(offset, size, interrupted, content);
}

int InstantTree::write(fuse::NodeId id, std::uint64_t offset, std::string_view content,
                       const fuse::Interrupted& interrupted) {
    std::shared_ptr<InstantFile> file;
    if (const int error = find_file(id, file, /*written=*/true); error != 0) return error;
    return file->write(offset, content, interrupted);
}

int InstantTree::allocate(fuse::NodeId id, std::uint64_t offset, std::uint64_t size,
                          bool keep_size) {
    std::shared_ptr<InstantFile> file;
    if (const int error = find_file(id, file, /*written=*/true); error != 0) return error;
    return file->allocate(offset, size, keep_size);
}

int InstantTree::sync(fuse::NodeId id) {
    std::shared_ptr<InstantFile> file;
    os::FileDescriptor names;
    std::string path;
    {
        const std::lock_guard lock(mutex_);
        const NodePointer node = find(id);
        if (node == nullptr) return ENOENT;
        file = node->file;
        if (file == nullptr) {
            if (!node->is_directory() || node->removed) return 0;
            path = path_of(*node);
            names = os::FileDescriptor(::openat(root_.get(), or_itself(path),
                                                O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
            if (!names.valid()) return errno;
        }
    }
    if (file != nullptr) return file->sync();
    const auto synced = os::sync_directory(names.get(), root_path_ + "/" + path);
    if (synced) return 0;
    log(LogLevel::error, synced.error().text());
    return EIO;
}

int InstantTree::change(fuse::NodeId id, const fuse::Change& change, fuse::Attributes& now) {
    if (change.size) {
        std::shared_ptr<InstantFile> file;
        if (const int error = find_file(id, file, /*written=*/true); error != 0) return error;
        if (const int error = file->resize(*change.size); error != 0) return error;
    }
    const std::lock_guard lock(mutex_);
    const NodePointer node = find(id);
    if (node == nullptr) return ENOENT;
    const std::string path = path_of(*node);
    const bool is_there = !node->names.empty() || id == fuse::kRoot;
    if (change.mode) {
        if (is_there && ::fchmodat(root_.get(), or_itself(path), *change.mode & 07777, 0) != 0)
            return errno;
        node->mode = (node->mode & S_IFMT) | (*change.mode & 07777);
    }
    if (change.user || change.group) {
        if (is_there &&
            ::fchownat(root_.get(), or_itself(path), change.user.value_or(static_cast<uid_t>(-1)),
                       change.group.value_or(static_cast<gid_t>(-1)), AT_SYMLINK_NOFOLLOW) != 0)
            return errno;
        if (change.user) node->user = *change.user;
        if (change.group) node->group = *change.group;
    }
    if (change.modified) {
        const timespec times[2] = {{0, UTIME_OMIT}, {*change.modified, 0}};
        if (is_there && ::utimensat(root_.get(), or_itself(path), times, AT_SYMLINK_NOFOLLOW) != 0)
            return errno;
        node->modified = *change.modified;
    }
    now = attributes_of(*node);
    return 0;
}

fuse::Totals InstantTree::totals() {
    fuse::Totals totals;
    struct statvfs status = {};
    if (::fstatvfs(root_.get(), &status) == 0) {
        totals.free_bytes = std::uint64_t{status.f_bavail} * status.f_frsize;
        totals.size_bytes = std::uint64_t{status.f_blocks - status.f_bfree} * status.f_frsize;
    }
    const std::lock_guard lock(mutex_);
    totals.files = nodes_.size();
    return totals;
}

}  // namespace chronos::ops::mount
