#include "chronos/repo/side/drill.h"

#include <gmock/gmock.h>

#include "memory_storage.h"
#include "result_matchers.h"

namespace chronos::repo {
namespace {

using testing::HasSubstr;
using testing::Not;

Repository encrypted_repository(const std::shared_ptr<test::MemoryStorage>& memory) {
    Repository repository;
    repository.storage = memory;
    repository.cipher = crypto::CipherType::aes_256_cbc;
    repository.passphrase = "repo pass";
    return repository;
}

TEST(DrillRecord, NameSaysWhenAndHowWithoutThePassphrase) {
    const std::string name = drill_name(1795187777, true, "1a2b3c4d");
    EXPECT_EQ(name, "20261120T151617Z-passed-1a2b3c4d.json");
    const auto record = parse_drill_name(name);
    ASSERT_TRUE(record);
    EXPECT_EQ(record->finished, 1795187777);
    EXPECT_TRUE(record->passed);
    EXPECT_EQ(record->id, "1a2b3c4d");
    EXPECT_FALSE(parse_drill_name(drill_name(1795187777, false, "1a2b3c4d"))->passed);
}

TEST(DrillRecord, OtherNamesAreNone) {
    for (const char* name :
         {"", ".json", "20261120T151617Z-passed-1a2b3c4d", "20261120T151617Z-maybe-1a2b3c4d.json",
          "20261120T151617Z-passed-1a2b.json", "20261399T151617Z-passed-1a2b3c4d.json",
          "2026112XT151617Z-passed-1a2b3c4d.json", "20261120 151617Z-passed-1a2b3c4d.json",
          "20261120T151617Z-passed-1a2b3c4d-x.json"})
        EXPECT_FALSE(parse_drill_name(name)) << name;
}

TEST(DrillRecord, AreListedOldestFirstAndReadWithThePassphrase) {
    const auto memory = std::make_shared<test::MemoryStorage>();
    const Repository repository = encrypted_repository(memory);
    const std::string later = drill_name(1795187777, true, "00000001");
    const std::string earlier = drill_name(1795187770, false, "00000002");
    ASSERT_OK(save_drill(repository, "main", later, "{\"table\":\"salaries\"}", "info pass"));
    ASSERT_OK(save_drill(repository, "main", earlier, "{}", "info pass"));
    ASSERT_OK(storage::write_object(*memory, "chronos/main/drills/README", "no record"));
    const auto records = list_drills(repository, "main").value();
    ASSERT_EQ(records.size(), 2u);
    EXPECT_EQ(records.front().name, earlier);
    EXPECT_EQ(records.back().name, later);
    EXPECT_EQ(read_drill(repository, "main", later, "info pass").value(),
              "{\"table\":\"salaries\"}");
    EXPECT_THAT(storage::read_object(*memory, "chronos/main/drills/" + later).value(),
                Not(HasSubstr("salaries")));
}

TEST(DrillRecord, AStanzaWithoutDrillsHasNone) {
    EXPECT_TRUE(list_drills(encrypted_repository(std::make_shared<test::MemoryStorage>()), "main")
                    .value()
                    .empty());
}

}  // namespace
}  // namespace chronos::repo
