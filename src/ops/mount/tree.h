#pragma once

#include <functional>
#include <string>
#include <vector>

#include "chronos/base/directory_identity.h"
#include "chronos/fuse/file_system.h"
#include "chronos/repo/manifest.h"
#include "ops/mount/content.h"

namespace chronos::ops::mount {

/// The files of a backup where a restore without mappings would put them below its data directory:
/// what lay behind links in their place, and tablespaces as directories of pg_tblspc. As there,
/// tablespace_map is left out. The manifest has passed repo::check_manifest_places().
///
/// Beside them the root has a file `.chronos` that no listing shows: what `chronos mounts` asks.
class Tree final : public fuse::FileSystem {
public:
    /// Name of the file about the mount itself, unless the backup has one of that name.
    static constexpr std::string_view kStatusName = kMountStatusName;

    /// `keep_owners`: of the names in the manifest, where this machine has them, as root would
    /// restore them; else all belongs to who mounts. `status` makes the text of that file. All
    /// must outlive it.
    Tree(const repo::Manifest& manifest, Content& content, bool keep_owners,
         std::function<std::string()> status);

    int lookup(fuse::NodeId directory, std::string_view name, fuse::Attributes& found) override;
    int attributes(fuse::NodeId node, fuse::Attributes& found) override;
    int list(fuse::NodeId directory, std::uint64_t first, const AddEntry& add) override;
    int open(fuse::NodeId file, fuse::Opened& how) override;
    int read(fuse::NodeId file, std::uint64_t offset, std::size_t size,
             const fuse::Interrupted& interrupted, std::string& content) override;
    fuse::Totals totals() override { return totals_; }

private:
    struct Node {
        std::string_view name;  ///< of the manifest
        std::size_t parent = 0;
        const repo::ManifestFile* file = nullptr;  ///< null: a directory
        mode_t mode = 0700;
        uid_t user = 0;
        gid_t group = 0;
        std::vector<std::size_t> children;  ///< ascending by name
    };
    /// Ids of users and groups by their names.
    class Owners;

    std::size_t directory_of(std::string_view path);
    std::size_t add(std::size_t parent, std::string_view name);
    const std::size_t* find(const Node& directory, std::string_view name) const;
    bool is_status(fuse::NodeId node) const { return node == nodes_.size() + 1; }
    const Node* node(fuse::NodeId id) const;
    fuse::Attributes attributes_of(std::size_t index) const;

    const repo::Manifest& manifest_;
    Content& content_;
    std::function<std::string()> status_;
    std::vector<Node> nodes_;  ///< the root first; ids count from 1
    fuse::Totals totals_;
};

}  // namespace chronos::ops::mount
