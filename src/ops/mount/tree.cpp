#include "ops/mount/tree.h"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>

#include "chronos/base/text.h"
#include "chronos/os/file.h"

namespace chronos::ops::mount {
namespace {

constexpr std::string_view kDataPrefix = "pg_data/";
/// A restore makes the links of tablespaces itself.
constexpr std::string_view kLeftOut = "pg_data/tablespace_map";

/// Where it is below the root: "pg_tblspc/16384/..." is there as it is called.
std::string_view place_of(std::string_view name) {
    if (name == "pg_data") return "";
    return name.starts_with(kDataPrefix) ? name.substr(kDataPrefix.size()) : name;
}

/// Whether the id means something in the user namespace of this process: files of another one could
/// be read by nobody in there.
bool is_mapped(unsigned id, const char* map) {
    const std::string text = os::read_or_empty(map, 65536);
    for (const std::string_view line : split(text, '\n')) {
        std::vector<std::uint64_t> numbers;
        for (const std::string_view word : split(line, ' '))
            if (const auto number = parse_uint(word)) numbers.push_back(*number);
        if (numbers.size() == 3 && id >= numbers[0] && id - numbers[0] < numbers[2]) return true;
    }
    return false;
}

}  // namespace

class Tree::Owners {
public:
    explicit Owners(bool keep) : keep_(keep) {}

    uid_t user(const repo::OwnerName& name) {
        return id(users_, name, geteuid(), [](const char* text) -> std::optional<uid_t> {
            const passwd* found = getpwnam(text);
            if (found == nullptr || !is_mapped(found->pw_uid, "/proc/self/uid_map"))
                return std::nullopt;
            return found->pw_uid;
        });
    }
    gid_t group(const repo::OwnerName& name) {
        return id(groups_, name, getegid(), [](const char* text) -> std::optional<gid_t> {
            const ::group* found = getgrnam(text);
            if (found == nullptr || !is_mapped(found->gr_gid, "/proc/self/gid_map"))
                return std::nullopt;
            return found->gr_gid;
        });
    }

private:
    template <class Find>
    unsigned id(std::map<std::string, unsigned>& known, const repo::OwnerName& name, unsigned own,
                Find find) {
        if (!keep_ || !name) return own;
        const auto [found, is_new] = known.try_emplace(std::string(*name), own);
        if (is_new) found->second = find(found->first.c_str()).value_or(own);
        return found->second;
    }

    bool keep_;
    std::map<std::string, unsigned> users_, groups_;
};

Tree::Tree(const repo::Manifest& manifest, Content& content, bool keep_owners,
           std::function<std::string()> status)
    : manifest_(manifest), content_(content), status_(std::move(status)) {
    Owners owners(keep_owners);
    nodes_.reserve(manifest.files.size() + manifest.paths.size() + 2);
    nodes_.emplace_back();
    nodes_[0].user = owners.user(manifest.defaults.user);
    nodes_[0].group = owners.group(manifest.defaults.group);
    for (const repo::ManifestPath& path : manifest.paths) {
        Node& node = nodes_[directory_of(place_of(path.name))];
        node.mode = path.mode;
        node.user = owners.user(path.user);
        node.group = owners.group(path.group);
    }
    for (const repo::ManifestFile& file : manifest.files) {
        if (file.name.view() == kLeftOut) continue;
        const std::string_view place = place_of(file.name.view());
        const std::size_t slash = place.rfind('/');
        const std::size_t parent =
            slash == std::string_view::npos ? 0 : directory_of(place.substr(0, slash));
        Node& node = nodes_[add(parent, place.substr(slash + 1))];
        node.file = &file;
        node.mode = file.mode;
        node.user = owners.user(file.user);
        node.group = owners.group(file.group);
        totals_.size_bytes += file.size;
    }
    totals_.files = nodes_.size();
    for (Node& node : nodes_)
        std::ranges::sort(node.children, {}, [this](std::size_t i) { return nodes_[i].name; });
}

/// Made, if it is not there, with those above it.
std::size_t Tree::directory_of(std::string_view path) {
    std::size_t at = 0;
    while (!path.empty()) {
        const std::string_view name = path.substr(0, path.find('/'));
        path.remove_prefix(std::min(path.size(), name.size() + 1));
        std::vector<std::size_t>& children = nodes_[at].children;
        // Paths come sorted: it is the last one, or near it.
        const auto found = std::find_if(children.rbegin(), children.rend(),
                                        [&](std::size_t i) { return nodes_[i].name == name; });
        at = found != children.rend() ? *found : add(at, name);
    }
    return at;
}

std::size_t Tree::add(std::size_t parent, std::string_view name) {
    const std::size_t index = nodes_.size();
    Node& node = nodes_.emplace_back();
    node.name = name;
    node.parent = parent;
    node.mode = nodes_[parent].mode;
    node.user = nodes_[parent].user;
    node.group = nodes_[parent].group;
    nodes_[parent].children.push_back(index);
    return index;
}

const std::size_t* Tree::find(const Node& directory, std::string_view name) const {
    const auto at = std::ranges::lower_bound(directory.children, name, {},
                                             [this](std::size_t i) { return nodes_[i].name; });
    return at != directory.children.end() && nodes_[*at].name == name ? &*at : nullptr;
}

const Tree::Node* Tree::node(fuse::NodeId id) const {
    return id >= fuse::kRoot && id <= nodes_.size() ? &nodes_[id - 1] : nullptr;
}

fuse::Attributes Tree::attributes_of(std::size_t index) const {
    fuse::Attributes result;
    result.node = index + 1;
    if (index == nodes_.size()) {
        result.mode = S_IFREG | 0444;
        result.user = nodes_[0].user;
        result.group = nodes_[0].group;
        result.modified = manifest_.timestamp_stop;
        return result;
    }
    const Node& node = nodes_[index];
    result.mode = (node.file != nullptr ? S_IFREG : S_IFDIR) | (node.mode & 07777);
    result.size = node.file != nullptr ? node.file->size : 4096;
    result.modified = node.file != nullptr ? node.file->timestamp : manifest_.timestamp_stop;
    result.user = node.user;
    result.group = node.group;
    if (node.file == nullptr) {
        result.links = 2;
        for (const std::size_t child : node.children)
            if (nodes_[child].file == nullptr) ++result.links;
    }
    return result;
}

int Tree::lookup(fuse::NodeId directory, std::string_view name, fuse::Attributes& found) {
    const Node* const parent = node(directory);
    if (parent == nullptr) return ENOENT;
    if (parent->file != nullptr) return ENOTDIR;
    if (const std::size_t* const child = find(*parent, name)) {
        found = attributes_of(*child);
        return 0;
    }
    if (directory != fuse::kRoot || name != kStatusName) return ENOENT;
    found = attributes_of(nodes_.size());
    return 0;
}

int Tree::attributes(fuse::NodeId id, fuse::Attributes& found) {
    if (node(id) == nullptr && !is_status(id)) return ENOENT;
    found = attributes_of(id - 1);
    return 0;
}

int Tree::list(fuse::NodeId directory, std::uint64_t first, const AddEntry& add) {
    const Node* const listed = node(directory);
    if (listed == nullptr || listed->file != nullptr) return ENOTDIR;
    for (std::uint64_t i = first; i < listed->children.size() + 2; ++i) {
        const std::size_t index = i == 0   ? directory - 1
                                  : i == 1 ? listed->parent
                                           : listed->children[i - 2];
        const std::string_view name = i == 0 ? "." : i == 1 ? ".." : nodes_[index].name;
        if (!add(name, attributes_of(index), i + 1)) break;
    }
    return 0;
}

int Tree::open(fuse::NodeId file, fuse::Opened& how) {
    how.size_unknown = is_status(file);
    if (how.size_unknown) return 0;
    const Node* const opened = node(file);
    if (opened == nullptr) return ENOENT;
    return opened->file == nullptr ? EISDIR : 0;
}

int Tree::read(fuse::NodeId file, std::uint64_t offset, std::size_t size,
               const fuse::Interrupted& interrupted, std::string& content) {
    content.clear();
    if (is_status(file)) {
        const std::string text = status_();
        if (offset < text.size()) content = text.substr(offset, size);
        return 0;
    }
    const Node* const wanted = node(file);
    if (wanted == nullptr || wanted->file == nullptr) return EISDIR;
    if (offset >= wanted->file->size) return 0;
    return content_.read(*wanted->file, offset, size, interrupted, content);
}

}  // namespace chronos::ops::mount
