#include "ops/mount/overlay.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "chronos/base/log.h"

namespace chronos::ops::mount {
namespace {

constexpr std::string_view kBelowData = "pg_data/";
constexpr std::string_view kBelowTablespaces = "pg_tblspc/";
constexpr std::string_view kNotShown = "pg_data/tablespace_map";
constexpr std::uint64_t kFirstPlace = 2;  ///< behind "." and ".."

}  // namespace

/// Names and attributes are read and changed under the mutex of all, `file` by itself.
struct Overlay::Node {
    fuse::NodeId id = 0;
    mode_t mode = 0;
    uid_t user = 0;
    gid_t group = 0;
    UnixTime modified = 0;
    unsigned names = 0;       ///< that lead here
    std::uint64_t known = 0;  ///< how often the kernel was told of it
    std::uint64_t open = 0;

    std::shared_ptr<OverlayFile> file;
    std::string target;  ///< of a link

    struct Child {
        std::uint64_t place = 0;
        NodePointer node;
    };
    Node* parent = nullptr;  ///< of a directory; the root's is itself
    std::map<std::string, Child, std::less<>> children;
    std::map<std::uint64_t, std::string> order;  ///< their names in the order of listing
    std::uint64_t last_place = kFirstPlace;

    bool is_directory() const { return S_ISDIR(mode); }
};

Overlay::Overlay(const repo::Manifest& manifest, ReadBackup read_backup,
                 const std::string& mount_path, std::string scratch_path)
    : read_backup_(std::move(read_backup)),
      scratch_path_(std::move(scratch_path)),
      user_(geteuid()),
      group_(getegid()) {
    const auto root = std::make_shared<Node>();
    root->id = ++last_id_;
    root->mode = S_IFDIR | 0700;
    root->user = user_;
    root->group = group_;
    root->parent = root.get();
    root->names = 1;
    root->modified = manifest.timestamp_stop;
    nodes_.emplace(root->id, root);
    const NodePointer data = add(*root, kData, S_IFDIR | 0700);
    const NodePointer tablespaces = add(*root, kTablespaces, S_IFDIR | 0700);
    // "pg_tblspc/16384/PG_15_202209061/..." lies in a directory of its own, "pg_data/base/..." and
    // "pg_data/pg_tblspc" in the other one.
    const auto place_of = [&](std::string_view name) -> std::pair<Node*, std::string_view> {
        if (name == "pg_data") return {data.get(), ""};
        if (name.starts_with(kBelowData)) return {data.get(), name.substr(kBelowData.size())};
        if (name.starts_with(kBelowTablespaces))
            return {tablespaces.get(), name.substr(kBelowTablespaces.size())};
        return {nullptr, ""};  // "pg_tblspc" itself, where links of tablespaces were noted
    };
    for (const repo::ManifestPath& path : manifest.paths) {
        const auto [top, place] = place_of(path.name);
        if (top == nullptr) continue;
        Node& directory = directory_of(*top, place, path.mode);
        directory.mode = S_IFDIR | (path.mode & 07777);
    }
    for (const repo::ManifestFile& file : manifest.files) {
        const std::string_view name = file.name.view();
        const auto [top, place] = place_of(name);
        if (top == nullptr || name == kNotShown) continue;
        const std::size_t slash = place.rfind('/');
        Node& parent = slash == std::string_view::npos
                           ? *top
                           : directory_of(*top, place.substr(0, slash), 0700);
        const NodePointer node =
            add(parent, place.substr(slash + 1), S_IFREG | (file.mode & 07777));
        node->modified = file.timestamp;
        node->file = std::make_shared<OverlayFile>(
            sparse_path(node->id), file.size,
            [this, &file](std::uint64_t offset, std::size_t size,
                          const fuse::Interrupted& interrupted, std::string& content) {
                return read_backup_(file, offset, size, interrupted, content);
            });
        of_backup_.emplace(&file, node->file);
        backup_bytes_ += file.size;
    }
    Node& links = directory_of(*data, "pg_tblspc", 0700);
    for (const auto& [oid, child] : tablespaces->children) {
        if (child_of(links, oid) != nullptr) continue;
        const NodePointer link = add(links, oid, S_IFLNK | 0777);
        link->target = mount_path + "/" + std::string(kTablespaces) + "/" + oid;
    }
}

Overlay::~Overlay() = default;

bool Overlay::keep(const repo::ManifestFile& file, const std::vector<Piece>& pieces) {
    const auto found = of_backup_.find(&file);
    if (found == of_backup_.end()) return false;
    const std::shared_ptr<OverlayFile> here = found->second.lock();
    if (here == nullptr) return true;
    struct statvfs status = {};
    if (::statvfs(scratch_path_.c_str(), &status) != 0 ||
        std::uint64_t{status.f_bavail} * status.f_frsize < kRoomMin)
        return false;
    return here->keep(pieces);
}

void Overlay::lose(int error) {
    if (int none = 0; lost_.compare_exchange_strong(none, error))
        log(LogLevel::error, check().error().text());
}

Result<> Overlay::check() const {
    const int error = lost_;
    if (error == 0) return {};
    return system_error(ErrorKind::file_write,
                        "unable to keep in '" + scratch_path_ + "' what the server has written",
                        error);
}

std::string Overlay::sparse_path(fuse::NodeId id) const {
    return scratch_path_ + "/" + std::to_string(id);
}

Overlay::Node& Overlay::directory_of(Node& root, std::string_view path, mode_t mode) {
    Node* at = &root;
    while (!path.empty()) {
        const std::string_view name = path.substr(0, path.find('/'));
        path.remove_prefix(std::min(path.size(), name.size() + 1));
        NodePointer next = child_of(*at, name);
        if (next == nullptr) next = add(*at, name, S_IFDIR | (mode & 07777));
        at = next.get();
    }
    return *at;
}

Overlay::NodePointer Overlay::find(fuse::NodeId id) const {
    const auto found = nodes_.find(id);
    return found == nodes_.end() ? nullptr : found->second;
}

int Overlay::find_directory(fuse::NodeId id, NodePointer& directory) const {
    directory = find(id);
    if (directory == nullptr) return ENOENT;
    return directory->is_directory() ? 0 : ENOTDIR;
}

Overlay::NodePointer Overlay::child_of(const Node& directory, std::string_view name) const {
    const auto found = directory.children.find(name);
    return found == directory.children.end() ? nullptr : found->second.node;
}

void Overlay::attach(Node& directory, std::string_view name, const NodePointer& node) {
    const std::uint64_t place = ++directory.last_place;
    directory.children.emplace(name, Node::Child{place, node});
    directory.order.emplace(place, name);
    ++node->names;
    if (node->is_directory()) node->parent = &directory;
}

/// The node stays, without this name.
void Overlay::detach(Node& directory, std::string_view name) {
    const auto found = directory.children.find(name);
    --found->second.node->names;
    directory.order.erase(found->second.place);
    directory.children.erase(found);
}

Overlay::NodePointer Overlay::add(Node& directory, std::string_view name, mode_t mode) {
    auto node = std::make_shared<Node>();
    node->id = ++last_id_;
    node->mode = mode;
    node->user = user_;
    node->group = group_;
    node->modified = directory.modified;
    nodes_.emplace(node->id, node);
    attach(directory, name, node);
    return node;
}

/// What nobody can ask for any more; its sparse file goes as soon as nobody has it open.
void Overlay::drop_if_unused(const NodePointer& node) {
    if (node->names > 0 || node->open > 0) return;
    node->file.reset();
    if (node->known == 0) nodes_.erase(node->id);
}

fuse::Attributes Overlay::attributes_of(const Node& node) const {
    fuse::Attributes result;
    result.node = node.id;
    result.mode = node.mode;
    result.user = node.user;
    result.group = node.group;
    result.modified = node.modified;
    result.links = node.names;
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

int Overlay::lookup(fuse::NodeId directory, std::string_view name, fuse::Attributes& found) {
    const std::lock_guard lock(mutex_);
    NodePointer parent;
    if (const int error = find_directory(directory, parent); error != 0) return error;
    const NodePointer node = child_of(*parent, name);
    if (node == nullptr) return ENOENT;
    ++node->known;
    found = attributes_of(*node);
    return 0;
}

int Overlay::attributes(fuse::NodeId id, fuse::Attributes& found) {
    const std::lock_guard lock(mutex_);
    const NodePointer node = find(id);
    if (node == nullptr) return ENOENT;
    found = attributes_of(*node);
    return 0;
}

int Overlay::list(fuse::NodeId id, std::uint64_t first, const AddEntry& add_entry) {
    const std::lock_guard lock(mutex_);
    NodePointer directory;
    if (const int error = find_directory(id, directory); error != 0) return error;
    if (first < 1 && !add_entry(".", attributes_of(*directory), 1)) return 0;
    if (first < kFirstPlace && !add_entry("..", attributes_of(*directory->parent), kFirstPlace))
        return 0;
    for (auto at = directory->order.upper_bound(first); at != directory->order.end(); ++at)
        if (!add_entry(at->second, attributes_of(*child_of(*directory, at->second)), at->first))
            return 0;
    return 0;
}

int Overlay::open(fuse::NodeId id, fuse::Opened& how) {
    const std::lock_guard lock(mutex_);
    const NodePointer node = find(id);
    if (node == nullptr) return ENOENT;
    if (node->file == nullptr) return node->is_directory() ? EISDIR : ELOOP;
    ++node->open;
    how.size_unknown = false;
    return 0;
}

void Overlay::release(fuse::NodeId id) {
    const std::lock_guard lock(mutex_);
    const NodePointer node = find(id);
    if (node == nullptr || node->open == 0) return;
    if (--node->open == 0 && node->file != nullptr) node->file->rest();
    drop_if_unused(node);
}

void Overlay::forget(fuse::NodeId id, std::uint64_t times) {
    const std::lock_guard lock(mutex_);
    const NodePointer node = find(id);
    if (node == nullptr) return;
    node->known -= std::min(node->known, times);
    drop_if_unused(node);
}

int Overlay::make(fuse::NodeId id, std::string_view name, mode_t type, const fuse::Making& making,
                  NodePointer& made) {
    NodePointer directory;
    if (const int error = find_directory(id, directory); error != 0) return error;
    // Removed, and yet somebody's working directory.
    if (directory->names == 0) return ENOENT;
    if (child_of(*directory, name) != nullptr) return EEXIST;
    made = add(*directory, name, type | (making.mode & 07777));
    made->user = making.user;
    made->group = making.group;
    made->modified = directory->modified = unix_now();
    ++made->known;
    return 0;
}

int Overlay::create(fuse::NodeId directory, std::string_view name, const fuse::Making& making,
                    fuse::Attributes& made) {
    const std::lock_guard lock(mutex_);
    NodePointer node;
    if (const int error = make(directory, name, S_IFREG, making, node); error != 0) return error;
    node->file = std::make_shared<OverlayFile>(sparse_path(node->id), 0, nullptr);
    ++node->open;
    made = attributes_of(*node);
    return 0;
}

int Overlay::make_directory(fuse::NodeId directory, std::string_view name,
                            const fuse::Making& making, fuse::Attributes& made) {
    const std::lock_guard lock(mutex_);
    NodePointer node;
    if (const int error = make(directory, name, S_IFDIR, making, node); error != 0) return error;
    made = attributes_of(*node);
    return 0;
}

int Overlay::make_symlink(fuse::NodeId directory, std::string_view name, std::string_view target,
                          const fuse::Making& making, fuse::Attributes& made) {
    const std::lock_guard lock(mutex_);
    NodePointer node;
    if (const int error = make(directory, name, S_IFLNK, making, node); error != 0) return error;
    node->target = target;
    made = attributes_of(*node);
    return 0;
}

int Overlay::read_symlink(fuse::NodeId id, std::string& target) {
    const std::lock_guard lock(mutex_);
    const NodePointer node = find(id);
    if (node == nullptr) return ENOENT;
    if (!S_ISLNK(node->mode)) return EINVAL;
    target = node->target;
    return 0;
}

int Overlay::link(fuse::NodeId file, fuse::NodeId directory, std::string_view name,
                  fuse::Attributes& now) {
    const std::lock_guard lock(mutex_);
    const NodePointer node = find(file);
    NodePointer parent;
    if (const int error = find_directory(directory, parent); error != 0) return error;
    // What has no name left is gone with its last user.
    if (node == nullptr || node->names == 0 || parent->names == 0) return ENOENT;
    if (node->is_directory()) return EPERM;
    if (child_of(*parent, name) != nullptr) return EEXIST;
    attach(*parent, name, node);
    parent->modified = unix_now();
    ++node->known;
    now = attributes_of(*node);
    return 0;
}

int Overlay::unlink(fuse::NodeId directory, std::string_view name) {
    const std::lock_guard lock(mutex_);
    NodePointer parent;
    if (const int error = find_directory(directory, parent); error != 0) return error;
    const NodePointer node = child_of(*parent, name);
    if (node == nullptr) return ENOENT;
    if (node->is_directory()) return EISDIR;
    detach(*parent, name);
    parent->modified = unix_now();
    drop_if_unused(node);
    return 0;
}

int Overlay::remove_directory(fuse::NodeId directory, std::string_view name) {
    const std::lock_guard lock(mutex_);
    NodePointer parent;
    if (const int error = find_directory(directory, parent); error != 0) return error;
    const NodePointer node = child_of(*parent, name);
    if (node == nullptr) return ENOENT;
    if (!node->is_directory()) return ENOTDIR;
    if (!node->children.empty()) return ENOTEMPTY;
    detach(*parent, name);
    node->parent = node.get();  // its own may go before it is forgotten
    parent->modified = unix_now();
    drop_if_unused(node);
    return 0;
}

int Overlay::rename(fuse::NodeId directory, std::string_view name, fuse::NodeId new_directory,
                    std::string_view new_name, bool keep_existing) {
    const std::lock_guard lock(mutex_);
    NodePointer from, to;
    if (const int error = find_directory(directory, from); error != 0) return error;
    if (const int error = find_directory(new_directory, to); error != 0) return error;
    const NodePointer node = child_of(*from, name);
    if (node == nullptr || to->names == 0) return ENOENT;
    const NodePointer replaced = child_of(*to, new_name);
    if (replaced != nullptr && keep_existing) return EEXIST;
    // The same file by two names: both stay, as POSIX has it.
    if (replaced == node) return 0;
    if (node->is_directory())
        for (const Node* above = to.get(); above->parent != above; above = above->parent)
            if (above == node.get()) return EINVAL;
    if (replaced != nullptr) {
        if (replaced->is_directory() && !node->is_directory()) return EISDIR;
        if (!replaced->is_directory() && node->is_directory()) return ENOTDIR;
        if (!replaced->children.empty()) return ENOTEMPTY;
        detach(*to, new_name);
        if (replaced->is_directory()) replaced->parent = replaced.get();
        drop_if_unused(replaced);
    }
    detach(*from, name);
    attach(*to, new_name, node);
    from->modified = to->modified = unix_now();
    return 0;
}

int Overlay::find_file(fuse::NodeId id, std::shared_ptr<OverlayFile>& file, bool written) {
    const std::lock_guard lock(mutex_);
    const NodePointer node = find(id);
    if (node == nullptr) return ENOENT;
    if (node->file == nullptr) return EISDIR;
    if (lost_ != 0) return EIO;
    if (written) node->modified = unix_now();
    file = node->file;
    return 0;
}

int Overlay::read(fuse::NodeId id, std::uint64_t offset, std::size_t size,
                  const fuse::Interrupted& interrupted, std::string& content) {
    std::shared_ptr<OverlayFile> file;
    if (const int error = find_file(id, file, /*written=*/false); error != 0) return error;
    return file->read(offset, size, interrupted, content);
}

int Overlay::write(fuse::NodeId id, std::uint64_t offset, std::string_view content,
                   const fuse::Interrupted& interrupted) {
    std::shared_ptr<OverlayFile> file;
    if (const int error = find_file(id, file, /*written=*/true); error != 0) return error;
    const int error = file->write(offset, content, interrupted);
    // Interrupted: the mount ends, and all that was written with it.
    if (error != 0 && error != EINTR) lose(error);
    return error;
}

int Overlay::change(fuse::NodeId id, const fuse::Change& change, fuse::Attributes& now) {
    const std::lock_guard lock(mutex_);
    const NodePointer node = find(id);
    if (node == nullptr) return ENOENT;
    if (change.size) {
        if (node->file == nullptr) return node->is_directory() ? EISDIR : EINVAL;
        if (const int error = node->file->resize(*change.size); error != 0) return error;
        node->modified = unix_now();
        if (node->open == 0) node->file->rest();
    }
    if (change.mode) node->mode = (node->mode & S_IFMT) | (*change.mode & 07777);
    if (change.user) node->user = *change.user;
    if (change.group) node->group = *change.group;
    if (change.modified) node->modified = *change.modified;
    now = attributes_of(*node);
    return 0;
}

fuse::Totals Overlay::totals() {
    fuse::Totals totals;
    totals.size_bytes = backup_bytes_;
    struct statvfs status = {};
    if (::statvfs(scratch_path_.c_str(), &status) == 0)
        totals.free_bytes = std::uint64_t{status.f_bavail} * status.f_frsize;
    const std::lock_guard lock(mutex_);
    totals.files = nodes_.size();
    return totals;
}

}  // namespace chronos::ops::mount
