#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "chronos/os/file.h"

namespace chronos::ops::mount {

/// A file that the machine has below a mount, as its bytes: what was written and not synced may be
/// there after a power failure, or not, each part of it by itself. Answers are 0 or an errno. One
/// thread at a time, but for sync() and start_write_back(), which any thread may call meanwhile.
class LowerFile {
public:
    virtual ~LowerFile() = default;

    /// Exactly so much: behind the end are zeros.
    virtual int read(std::uint64_t offset, std::size_t size, std::string& content) const = 0;
    /// All of it, or an error, which may leave a part of it written.
    virtual int write(std::uint64_t offset, std::string_view content) = 0;
    /// Cuts it off, or lets zeros follow.
    virtual int resize(std::uint64_t size_bytes) = 0;
    /// Room for the range, which does not change; the file ends behind it, unless `keep_size`, or
    /// where it did. An error changes nothing. EOPNOTSUPP, where the machine cannot.
    virtual int allocate(std::uint64_t offset, std::uint64_t size_bytes, bool keep_size) = 0;
    virtual int size(std::uint64_t& size_bytes) const = 0;
    /// A hint: the machine may begin to write the range to its disk, which nobody waits for.
    virtual void start_write_back(std::uint64_t /*offset*/, std::uint64_t /*end*/) const {}
    /// What was written before is durable, with the size. A failure is final: nobody knows what is
    /// lost.
    virtual int sync() = 0;
};

/// One that is open.
class MachineFile final : public LowerFile {
public:
    /// `path` is for messages.
    MachineFile(os::FileDescriptor file, std::string path)
        : file_(std::move(file)), path_(std::move(path)) {}

    int read(std::uint64_t offset, std::size_t size, std::string& content) const override;
    int write(std::uint64_t offset, std::string_view content) override;
    int resize(std::uint64_t size_bytes) override;
    int allocate(std::uint64_t offset, std::uint64_t size_bytes, bool keep_size) override;
    int size(std::uint64_t& size_bytes) const override;
    void start_write_back(std::uint64_t offset, std::uint64_t end) const override;
    int sync() override;

private:
    os::FileDescriptor file_;
    std::string path_;
};

}  // namespace chronos::ops::mount
