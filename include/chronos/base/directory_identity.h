#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace chronos {

/// In the root of a directory that is mounted by us, seen by no listing: lines of a word and what
/// there is to say of it. Of one that is served in its own place `kBelowWord` and what below()
/// says.
inline constexpr std::string_view kMountStatusName = ".chronos";
inline constexpr std::string_view kBelowWord = "below";

/// Which directory it is. One that is served in its own place until it is whole is the one below
/// the mount: so it is the same before, meanwhile and afterwards.
struct DirectoryIdentity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::uint64_t file_system = 0;  ///< an id of it, the same wherever it is mounted
    std::uint32_t user = 0;         ///< whose it is

    bool is_same_as(std::uint64_t other_device, std::uint64_t other_inode) const {
        return device == other_device && inode == other_inode;
    }
};

/// nullopt, with errno, where nobody tells.
std::optional<DirectoryIdentity> identify_directory(const std::string& path);

/// "<device> <inode> <file system>" of an open directory, for who serves something in its place; ""
/// where nobody tells.
std::string below(int directory);

}  // namespace chronos
