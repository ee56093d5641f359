#include "chronos/ops/usage/usage.h"

#include <gmock/gmock.h>

#include "memory_storage.h"
#include "result_matchers.h"

namespace chronos::ops::usage {
namespace {

using testing::ElementsAre;

class Usage : public testing::Test {
protected:
    void store(const std::string& name, std::size_t size) {
        ASSERT_OK(storage::write_object(*memory_, name, std::string(size, 'x')));
    }
    std::vector<std::string> measure(const std::string& stanza) {
        repo::Repository repository;
        repository.key = 2;
        repository.storage = memory_;
        const auto rows = measure_usage({stanza, {repository}}, Cancellation());
        EXPECT_OK(rows);
        std::vector<std::string> found;
        if (!rows) return found;
        for (const UsageRow& row : *rows)
            found.push_back(std::to_string(row.repo_key) + " " + row.stanza + " " + row.area + " " +
                            row.item + " " + std::to_string(row.objects) + " " +
                            std::to_string(row.bytes));
        return found;
    }

    std::shared_ptr<test::MemoryStorage> memory_ = std::make_shared<test::MemoryStorage>();
};

TEST_F(Usage, CountsEachBackupAndArchiveOfTheStanzaOnce) {
    store("archive/main/archive.info", 10);
    store("archive/main/archive.info.copy", 10);
    store("archive/main/15-1/0000000100000000/000000010000000000000001-ab.zst", 100);
    store("archive/main/15-1/00000002.history", 5);
    store("backup/main/backup.info", 7);
    store("backup/main/20260101-000001F/backup.manifest", 20);
    store("backup/main/20260101-000001F/bundle/1", 300);
    store("backup/mainframe/backup.info", 1000);
    store("chronos/main/holds", 3);
    store("elsewhere/main/file", 50);
    EXPECT_THAT(
        measure("main"),
        ElementsAre("2 main archive  2 20", "2 main archive 15-1 2 105", "2 main backup  1 7",
                    "2 main backup 20260101-000001F 2 320", "2 main chronos  1 3"));
    EXPECT_EQ(measure("").size(), 6u) << "without a stanza, all of them";
}

TEST_F(Usage, EmptyRepositoryHasNoRows) {
    EXPECT_TRUE(measure("").empty());
}

TEST_F(Usage, CancelEndsIt) {
    store("backup/main/backup.info", 7);
    Cancellation cancel;
    cancel.request();
    repo::Repository repository;
    repository.storage = memory_;
    EXPECT_ERROR(ErrorKind::cancelled, measure_usage({"", {repository}}, cancel));
}

}  // namespace
}  // namespace chronos::ops::usage
