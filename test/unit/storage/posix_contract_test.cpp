#include "storage_contract.h"
#include "temporary_directory.h"

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

}  // namespace
}  // namespace chronos::test
