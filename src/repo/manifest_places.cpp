// Whether a restore can make what a manifest lists, and nowhere else.
#include <limits.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <set>
#include <vector>

#include "chronos/base/text.h"
#include "chronos/repo/manifest.h"

namespace chronos::repo {
namespace {

constexpr std::string_view kData = "pg_data";
constexpr std::string_view kTablespaces = "pg_tblspc";

Error bad_name(const Manifest& manifest, const char* what, std::string_view name,
               const std::string& why) {
    return Error(ErrorKind::format, "manifest of backup '" + printable(manifest.label) +
                                        "': " + what + " '" + printable(name) + "' " + why);
}

/// Not empty, and no component that leads elsewhere or that no file system takes.
bool is_plain_path(std::string_view path) {
    for (const std::string_view component : split(path, '/'))
        if (component.empty() || component == "." || component == ".." ||
            component.size() > NAME_MAX)
            return false;
    return path.find('\0') == std::string_view::npos;
}

/// As somebody may have made a link by hand, but it leads where it says.
bool is_absolute(std::string_view path) {
    for (const std::string_view component : split(path, '/'))
        if (component == "..") return false;
    return path.starts_with('/') && path.find('\0') == std::string_view::npos;
}

/// The name of the target that a link in the data directory belongs to.
std::string target_of_link(std::string_view link) {
    constexpr std::string_view kPrefix = "pg_data/pg_tblspc/";
    if (!link.starts_with(kPrefix)) return std::string(link);
    return "pg_tblspc/" + std::string(link.substr(kPrefix.size()));
}

class Judge {
public:
    explicit Judge(const Manifest& manifest)
        : manifest_(manifest),
          version_directory_("PG_" + manifest.pg_version + "_" +
                             std::to_string(manifest.catalog_version)) {}

    Result<> run() {
        for (const ManifestTarget& target : manifest_.targets) CHRONOS_TRY(check_target(target));
        for (const ManifestLink& link : manifest_.links) CHRONOS_TRY(check_link(link));
        for (const auto& [name, target] : targets_)
            if (target->is_link && !linked_.contains(name))
                return bad_name(manifest_, "target", name, "has no link");
        for (const ManifestPath& path : manifest_.paths) {
            CHRONOS_TRY(check_name("path", path.name, /*is_path=*/true));
            if (!paths_.insert(path.name).second)
                return bad_name(manifest_, "path", path.name, "is there twice");
        }
        for (const ManifestPath& path : manifest_.paths)
            CHRONOS_TRY(check_parent("path", path.name));
        for (const ManifestLink& link : manifest_.links)
            CHRONOS_TRY(check_parent("link", link.name));
        std::uint64_t left_bytes = kSizeMax;
        for (const ManifestFile& file : manifest_.files) {
            const std::string_view name = file.name.view();
            CHRONOS_TRY(check_name("file", name, /*is_path=*/false));
            CHRONOS_TRY(check_parent("file", name));
            if (paths_.contains(name)) return bad_name(manifest_, "file", name, "is there twice");
            if (file.size > left_bytes)
                return bad_name(manifest_, "file", name, "is larger than any file system");
            left_bytes -= file.size;
        }
        return check_twice();
    }

private:
    /// There may be millions: those of a manifest that was read are in order.
    Result<> check_twice() const {
        const auto name_of = [](const ManifestFile& file) { return file.name.view(); };
        std::vector<std::string_view> names;
        if (!std::ranges::is_sorted(manifest_.files, {}, name_of)) {
            for (const ManifestFile& file : manifest_.files) names.push_back(name_of(file));
            std::ranges::sort(names);
        }
        const auto first = std::ranges::adjacent_find(names);
        if (first != names.end()) return bad_name(manifest_, "file", *first, "is there twice");
        if (!names.empty()) return {};
        const auto file = std::ranges::adjacent_find(manifest_.files, {}, name_of);
        if (file == manifest_.files.end()) return {};
        return bad_name(manifest_, "file", name_of(*file), "is there twice");
    }

    /// As a file system counts.
    static constexpr std::uint64_t kSizeMax = std::numeric_limits<std::int64_t>::max();

    /// Nothing can be made in a directory that is not made before it, or is a file.
    Result<> check_parent(const char* what, std::string_view name) const {
        const std::size_t slash = name.rfind('/');
        if (slash == std::string_view::npos || paths_.contains(name.substr(0, slash))) return {};
        return bad_name(manifest_, what, name, "is in a directory that the backup does not have");
    }

    Result<> check_target(const ManifestTarget& target) {
        if (!targets_.emplace(target.name, &target).second)
            return bad_name(manifest_, "target", target.name, "is there twice");
        if (target.name == kData) {
            if (target.is_link || target.tablespace_oid != 0 || !target.file.empty())
                return bad_name(manifest_, "target", target.name, "is no directory");
            return {};
        }
        if (!target.is_link) return bad_name(manifest_, "target", target.name, "is no link");
        if (target.path.find('\0') != std::string::npos || !is_plain_file_name(target.file))
            return bad_name(manifest_, "target", target.name, "leads nowhere");
        if (target.tablespace_oid != 0) {
            const std::string expected =
                std::string(kTablespaces) + "/" + std::to_string(target.tablespace_oid);
            if (target.name != expected || !target.file.empty())
                return bad_name(manifest_, "target", target.name, "is no tablespace's");
            if (!is_absolute(target.path))
                return bad_name(manifest_, "target", target.name,
                                "leads to '" + printable(target.path) + "'");
            return {};
        }
        return check_below_data("target", target.name);
    }

    static bool is_plain_file_name(std::string_view name) {
        return name.empty() || (name.find('/') == std::string_view::npos && is_plain_path(name));
    }

    Result<> check_below_data(const char* what, std::string_view name) const {
        if (name.starts_with("pg_data/") && is_plain_path(name)) return {};
        return bad_name(manifest_, what, name, "is outside of the data directory");
    }

    Result<> check_link(const ManifestLink& link) {
        CHRONOS_TRY(check_below_data("link", link.name));
        const std::string name = target_of_link(link.name);
        const auto target = targets_.find(name);
        if (target == targets_.end() || !target->second->is_link)
            return bad_name(manifest_, "link", link.name, "has no target");
        if (!linked_.insert(name).second)
            return bad_name(manifest_, "link", link.name, "is there twice");
        const std::string& file = target->second->file;
        const std::string expected = target->second->path + (file.empty() ? "" : "/" + file);
        if (normal(link.destination) != normal(expected))
            return bad_name(manifest_, "link", link.name,
                            "leads to '" + printable(link.destination) + "', its target to '" +
                                printable(expected) + "'");
        return {};
    }

    static std::string normal(const std::string& path) {
        std::string text = std::filesystem::path(path).lexically_normal().string();
        while (text.size() > 1 && text.ends_with('/')) text.pop_back();
        return text;
    }

    Result<> check_name(const char* what, std::string_view name, bool is_path) const {
        if (is_path && (name == kData || name == kTablespaces)) return {};
        if (!name.starts_with("pg_tblspc/")) return check_below_data(what, name);
        const std::string_view rest = name.substr(kTablespaces.size() + 1);
        const std::string_view oid = rest.substr(0, rest.find('/'));
        const auto target = targets_.find(std::string(kTablespaces) + "/" + std::string(oid));
        if (target == targets_.end() || target->second->tablespace_oid == 0 || !is_plain_path(name))
            return bad_name(manifest_, what, name, "is in no tablespace of this backup");
        if (rest.size() == oid.size() && is_path) return {};
        const std::string_view inner = rest.substr(std::min(rest.size(), oid.size() + 1));
        const bool at = inner == version_directory_;
        const bool below = inner.size() > version_directory_.size() &&
                           inner.starts_with(version_directory_) &&
                           inner[version_directory_.size()] == '/';
        if (below || (at && is_path)) return {};
        return bad_name(manifest_, what, name, "is outside of directory " + version_directory_);
    }

    const Manifest& manifest_;
    std::string version_directory_;
    std::map<std::string, const ManifestTarget*> targets_;
    std::set<std::string> linked_;
    std::set<std::string_view> paths_;
};

}  // namespace

Result<> check_manifest_places(const Manifest& manifest) {
    return Judge(manifest).run();
}

}  // namespace chronos::repo
