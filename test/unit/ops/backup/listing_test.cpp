#include "ops/backup/listing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "memory_storage.h"
#include "result_matchers.h"
#include "temporary_directory.h"

#include "chronos/storage/posix/posix_storage.h"

namespace chronos::ops::backup {
namespace {

using testing::HasSubstr;

std::string why_not(const storage::Storage& storage, std::string_view name) {
    const Result<> storable = check_storable(storage, "main", name);
    return storable ? "" : storable.error().message();
}

TEST(Storable, OnAFileSystemIsEveryNameThatAManifestCanHold) {
    const test::TemporaryDirectory directory;
    const auto storage = storage::make_posix_storage(directory.path());
    for (const char* name : {"pg_data/a=b", "pg_data/ ", "pg_data/\xff", "pg_data/\x01\r\t\x7f",
                             "pg_data/[a]", "pg_tblspc/16387/PG_15_202209061/5/100"})
        EXPECT_EQ(why_not(*storage, name), "") << name;
    EXPECT_NE(why_not(*storage, "pg_data/a\nb"), "");
    EXPECT_NE(why_not(*storage, "pg_data/a\nb/c"), "");
    EXPECT_EQ(why_not(*storage, "pg_data/" + std::string(248, 'x')), "");
    EXPECT_THAT(why_not(*storage, "pg_data/" + std::string(249, 'x')), HasSubstr("248 bytes"));
    std::string deep = "pg_data";
    while (deep.size() < 3700) deep += "/" + std::string(100, 'x');
    EXPECT_EQ(why_not(*storage, deep), "");
    EXPECT_THAT(why_not(*storage, deep + "/" + std::string(240, 'x') + "/" + std::string(240, 'y')),
                HasSubstr("4095 bytes"));
}

TEST(Storable, InAnObjectStoreIsText) {
    const test::MemoryStorage storage;
    for (const char* name : {"pg_data/a=b", "pg_data/ ", "pg_data/\xc3\xa9"})
        EXPECT_EQ(why_not(storage, name), "") << name;
    for (const char* name : {"pg_data/\xff", "pg_data/\x01", "pg_data/a\rb", "pg_data/\x7f"})
        EXPECT_THAT(why_not(storage, name), HasSubstr("object store")) << name;
    std::string deep = "pg_data";
    while (deep.size() < 1000) deep += "/" + std::string(50, 'x');
    EXPECT_THAT(why_not(storage, deep), HasSubstr("1024 bytes"));
}

}  // namespace
}  // namespace chronos::ops::backup
