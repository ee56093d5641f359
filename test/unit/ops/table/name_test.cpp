#include <gmock/gmock.h>

#include "chronos/ops/table/table.h"
#include "result_matchers.h"

namespace chronos::ops::table {
namespace {

using testing::HasSubstr;

std::string parsed(std::string_view text) {
    const auto name = parse_table_name(text);
    if (!name) return "error: " + name.error().message();
    return name->database + "|" + name->schema + "|" + name->name;
}

TEST(TableName, IsReadAsSqlReadsIt) {
    EXPECT_EQ(parsed("public.orders"), "|public|orders");
    EXPECT_EQ(parsed("shop.public.orders"), "shop|public|orders");
    EXPECT_EQ(parsed("Shop.PUBLIC.Orders"), "shop|public|orders");
    EXPECT_EQ(parsed("public.\"Orders\""), "|public|Orders");
    EXPECT_EQ(parsed("\"a.b\".\"c\"\"d\"\"\""), "|a.b|c\"d\"");
    EXPECT_EQ(parsed("\"My shop\".public.\"two words\""), "My shop|public|two words");
    // The server folds ASCII only where the encoding has several bytes for a character.
    EXPECT_EQ(parsed("public.Größe_Ä"), "|public|größe_Ä");
}

TEST(TableName, WithAStarIsAWholeSchemaUnlessItIsQuoted) {
    for (const auto& [text, schema] : {std::pair{"shop.public.*", "public"},
                                       {"public.*", "public"},
                                       {"shop.\"A.b\".*", "A.b"}}) {
        const auto name = parse_table_name(text);
        ASSERT_OK(name);
        EXPECT_TRUE(name->whole_schema) << text;
        EXPECT_EQ(name->schema, schema);
    }
    for (const char* text : {"public.\"*\"", "public.orders*", "\"a.*\".b", "public.orders"}) {
        const auto name = parse_table_name(text);
        ASSERT_OK(name);
        EXPECT_FALSE(name->whole_schema) << text;
    }
}

TEST(TableName, ThatIsNoneIsRefusedWithTheReason) {
    EXPECT_ERROR(ErrorKind::param_invalid, parse_table_name("orders"));
    EXPECT_THAT(parsed("orders"), HasSubstr("the schema is missing"));
    EXPECT_THAT(parsed(""), HasSubstr("a part is empty"));
    EXPECT_THAT(parsed("public."), HasSubstr("a part is empty"));
    EXPECT_THAT(parsed(".orders"), HasSubstr("a part is empty"));
    EXPECT_THAT(parsed("public.\"\""), HasSubstr("a part is empty"));
    EXPECT_THAT(parsed("public.\"orders"), HasSubstr("has no end"));
    EXPECT_THAT(parsed("public.\"a\"b"), HasSubstr("more behind"));
    EXPECT_THAT(parsed("public.two words"), HasSubstr("quoted"));
    EXPECT_THAT(parsed("public.a\"b\""), HasSubstr("quoted"));
    EXPECT_THAT(parsed("a.b.c.d"), HasSubstr("more than three"));
}

TEST(TableName, QuotedIsReadBackAsTheSame) {
    for (const std::string name : {"orders", "Two \"words\"", ".", "\"", "a''b", "größe", "a\\b"}) {
        const auto read = parse_table_name("s." + quote_name(name));
        ASSERT_OK(read);
        EXPECT_EQ(read->name, name);
    }
}

TEST(SchemaName, IsTheMomentInUtc) {
    EXPECT_EQ(schema_of_time(1763626500), "recovered_20251120_081500");
    EXPECT_EQ(schema_of_time(0), "recovered_19700101_000000");
}

}  // namespace
}  // namespace chronos::ops::table
