#include <unistd.h>

#include <filesystem>

#include "storage_contract.h"
#include "temporary_directory.h"

#include "chronos/storage/posix/posix_storage.h"

namespace chronos::test {
namespace {

class PosixFixture {
public:
    storage::Storage& storage() { return *storage_; }

private:
    TemporaryDirectory directory_;
    std::unique_ptr<storage::Storage> storage_ = storage::make_posix_storage(directory_.path());
};

INSTANTIATE_TYPED_TEST_SUITE_P(Posix, StorageContract, PosixFixture);

/// On a file system in memory: one of those whose files are synced one by one.
class PosixInMemoryFixture {
public:
    storage::Storage& storage() { return *storage_; }

private:
    static std::filesystem::path parent() {
        const std::filesystem::path shared_memory = "/dev/shm";
        return ::access(shared_memory.c_str(), W_OK) == 0 ? shared_memory
                                                          : std::filesystem::temp_directory_path();
    }
    TemporaryDirectory directory_{parent()};
    std::unique_ptr<storage::Storage> storage_ = storage::make_posix_storage(directory_.path());
};

INSTANTIATE_TYPED_TEST_SUITE_P(PosixInMemory, StorageContract, PosixInMemoryFixture);

}  // namespace
}  // namespace chronos::test
