#include "chronos/ops/browse/browse.h"

#include <gmock/gmock.h>

#include "chronos/repo/side/hold.h"
#include "memory_storage.h"
#include "synthetic_stanza.h"

namespace chronos::ops::browse {
namespace {

using testing::ElementsAre;
using testing::StartsWith;

const std::string kFirst = "20260101-000001F";

class BrowseTest : public testing::Test {
protected:
    BrowseTest() {
        stanza_.add(kFirst, 2, 3);
        stanza_.save();
        for (const char* name : {"x/a.b", "x/a/b", "x/a-c"}) stanza_.write(name, "12345");
    }
    ListRequest listing(const std::string& path) const {
        ListRequest request;
        request.place = place(path);
        request.recurse = true;
        return request;
    }
    Place place(const std::string& path) const { return {stanza_.repository(), "/repo", path}; }

    std::vector<std::string> names(const ListRequest& request) const {
        const auto entries = list(request);
        EXPECT_OK(entries);
        std::vector<std::string> found;
        if (entries)
            for (const storage::Entry& entry : *entries) found.push_back(entry.name);
        return found;
    }
    Result<std::string> content(const std::string& path, bool raw = false) const {
        io::MemorySink sink;
        CHRONOS_TRY(get(place(path), raw, sink));
        EXPECT_TRUE(sink.finished());
        return std::move(sink.content);
    }

    std::shared_ptr<test::MemoryStorage> memory_ = std::make_shared<test::MemoryStorage>();
    test::SyntheticStanza stanza_{memory_, "repo pass"};
};

TEST_F(BrowseTest, ListsADirectoryBeforeWhatIsInIt) {
    EXPECT_THAT(names(listing("x")), ElementsAre(".", "a", "a/b", "a-c", "a.b"));
    ListRequest backwards = listing("/repo/x/");
    backwards.order = Order::descending;
    EXPECT_THAT(names(backwards), ElementsAre(".", "a.b", "a-c", "a/b", "a"));
    ListRequest flat = listing("x");
    flat.recurse = false;
    EXPECT_THAT(names(flat), ElementsAre(".", "a", "a-c", "a.b"));
}

TEST_F(BrowseTest, FiltersNames) {
    ListRequest request = listing("x");
    request.filter = "^a/";
    EXPECT_THAT(names(request), ElementsAre("a/b"));
    request.filter = "(";
    EXPECT_ERROR(ErrorKind::format, list(request));
}

TEST_F(BrowseTest, AFileIsNamedByADotAndWhatIsMissingIsEmpty) {
    const auto file = list(listing("x/a-c"));
    ASSERT_OK(file);
    EXPECT_EQ(file->front().size, 5u);
    EXPECT_THAT(names(listing("x/a-c")), ElementsAre("."));
    EXPECT_THAT(names(listing("nowhere")), ElementsAre("."));
}

TEST_F(BrowseTest, DoesNotLeaveTheRepository) {
    for (const char* path : {"/etc", "/repository", "../x", "x/../../y", "x//a"}) {
        EXPECT_ERROR(ErrorKind::param_invalid, list(listing(path)));
        EXPECT_ERROR(ErrorKind::param_invalid, content(path));
    }
}

TEST_F(BrowseTest, DecryptsWithThePassphraseOfThePlace) {
    EXPECT_THAT(content("backup/main/backup.info").value(), StartsWith("[backrest]"));
    EXPECT_THAT(content("archive/main/archive.info.copy").value(), StartsWith("[backrest]"));
    EXPECT_THAT(content("backup/main/" + kFirst + "/backup.manifest").value(),
                StartsWith("[backrest]"));
    const auto store = [&](const std::string& name, const std::string& pass) {
        ASSERT_OK(repo::write_text(stanza_.repository(), name, "plain", pass));
        EXPECT_EQ(content(name).value(), "plain") << name;
    };
    store("backup/main/backup.history/2026/" + kFirst + ".manifest.gz", "backup pass");
    store("backup/main/" + kFirst + "/pg_data/base/1", "set pass");
    store("archive/main/15-1/00000002.history", "archive pass");
    ASSERT_OK(repo::save_hold(stanza_.repository(), "main", {kFirst, "audit", 5}, "backup pass"));
    EXPECT_EQ(content("chronos/main/hold/" + kFirst).value(), "5 audit");
}

TEST_F(BrowseTest, KnowsNoPassphraseForAStrangePlace) {
    EXPECT_ERROR(ErrorKind::option_invalid_value, content("x/a/b"));
    EXPECT_EQ(content("x/a/b", true).value(), "12345");
    EXPECT_ERROR(ErrorKind::not_found, content("backup/main/" + kFirst + "/pg_data/nowhere"));
}

TEST_F(BrowseTest, GivesWhatIsStoredIfAskedTo) {
    EXPECT_THAT(content("backup/main/backup.info", true).value(), StartsWith("Salted__"));
}

}  // namespace
}  // namespace chronos::ops::browse
