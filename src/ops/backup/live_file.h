#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "chronos/io/stream.h"

namespace chronos::ops::backup {

/// A file of a running cluster: it may grow, shrink or be unlinked while it is read. One thread.
class LiveFile {
public:
    /// nullopt if there is no such file (any more). Kind file_open if it cannot be opened.
    static Result<std::optional<LiveFile>> open(const std::string& path);
    LiveFile(LiveFile&& other) noexcept;
    LiveFile& operator=(LiveFile&&) = delete;
    ~LiveFile();

    /// Fills `out` from `offset_bytes` on unless the file ends first; returns how much.
    Result<std::size_t> read_at(std::uint64_t offset_bytes, io::MutableBytes out);

private:
    LiveFile(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
    int descriptor_;
    std::string path_;
};

}  // namespace chronos::ops::backup
