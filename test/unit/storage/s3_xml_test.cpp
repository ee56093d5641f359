#include "storage/s3/xml.h"

#include "result_matchers.h"

namespace chronos::storage::s3 {
namespace {

TEST(ListPage, TakesObjectsAndPrefixesInDocumentOrder) {
    const auto page = parse_list_page(
        "<?xml version=\"1.0\"?><ListBucketResult "
        "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
        "<Name>bucket</Name><Prefix>a/</Prefix><IsTruncated>true</IsTruncated>"
        "<NextContinuationToken>x=&amp;y</NextContinuationToken>"
        "<Contents><Key>a/&lt;b&gt; "
        "&#34;c</Key><LastModified>2026-11-20T08:14:56.000Z</LastModified>"
        "<ETag>&quot;e&quot;</ETag><Size>12345678901</Size><Owner><ID>Key</ID></Owner>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        "<CommonPrefixes><Prefix>a/dir/</Prefix></CommonPrefixes></ListBucketResult>");
    ASSERT_OK(page);
    EXPECT_TRUE(page->truncated);
    EXPECT_EQ(page->continuation_token, "x=&y");
    ASSERT_EQ(page->items.size(), 2u);
    EXPECT_EQ(page->items[0].kind, ListedItem::Kind::object);
    EXPECT_EQ(page->items[0].key, "a/<b> \"c");
    EXPECT_EQ(page->items[0].size, 12345678901u);
    EXPECT_EQ(page->items[0].modified, 1795162496);
    EXPECT_EQ(page->items[0].storage_class, "STANDARD");
    EXPECT_EQ(page->items[1].kind, ListedItem::Kind::prefix);
    EXPECT_EQ(page->items[1].key, "a/dir/");
}

TEST(ListPage, TakesVersionsAndDeleteMarkers) {
    const auto page = parse_list_page(
        "<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>"
        "<NextVersionIdMarker>v</NextVersionIdMarker>"
        "<DeleteMarker><Key>k</Key><VersionId>2</VersionId></DeleteMarker>"
        "<Version><Key>k</Key><VersionId>1</VersionId><Size>3</Size></Version>"
        "</ListVersionsResult>");
    ASSERT_OK(page);
    EXPECT_EQ(page->next_key_marker, "k");
    EXPECT_EQ(page->next_version_marker, "v");
    ASSERT_EQ(page->items.size(), 2u);
    EXPECT_EQ(page->items[0].kind, ListedItem::Kind::delete_marker);
    EXPECT_EQ(page->items[1].kind, ListedItem::Kind::version);
    EXPECT_EQ(page->items[1].version_id, "1");
}

/// What is no listing must not be taken for an empty one: that would be "nothing is there".
TEST(ListPage, AnythingElseIsAnErrorThatMayPass) {
    for (const std::string text :
         {"", "<html><body>Bad gateway</body></html>", "<ListBucketResult><Contents><Key>a",
          "<ListBucketResult></ListBucketResult><more/>", "not xml",
          "<Error><Code>InternalError</Code></Error>"}) {
        SCOPED_TRACE(text);
        const auto page = parse_list_page(text);
        ASSERT_FALSE(static_cast<bool>(page));
        EXPECT_EQ(page.error().kind(), ErrorKind::service);
        EXPECT_TRUE(page.error().transient());
    }
}

TEST(Xml, EntitiesOfTheDocumentAreNotExpanded) {
    std::string bomb = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\">";
    for (char c = 'b'; c < 'k'; ++c) {
        bomb += std::string("<!ENTITY ") + c + " \"";
        for (int i = 0; i < 10; ++i) bomb += std::string("&") + static_cast<char>(c - 1) + ";";
        bomb += "\">";
    }
    bomb += "]><Error><Code>&j;</Code></Error>";
    EXPECT_EQ(parse_error(bomb), std::nullopt);
    EXPECT_EQ(parse_error("<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]>"
                          "<Error><Code>&a;</Code></Error>"),
              std::nullopt);
}

TEST(Xml, TextAndDepthAreBounded) {
    const std::string huge(1 << 20, 'k');
    EXPECT_FALSE(static_cast<bool>(parse_list_page("<ListBucketResult><Contents><Key>" + huge +
                                                   "</Key></Contents></ListBucketResult>")));
    std::string deep;
    for (int i = 0; i < 100000; ++i) deep += "<a>";
    EXPECT_EQ(find_text(deep, "a"), std::nullopt);
}

TEST(ErrorDocument, IsTakenFromTheRootOnlyAndMadePrintable) {
    const auto error = parse_error(
        "<Error><Code>AuthorizationHeaderMalformed</Code><Message>a\nb\x7f</Message>"
        "<Region>eu-west-1</Region><RequestId>tx1</RequestId></Error>");
    ASSERT_TRUE(error.has_value());
    EXPECT_EQ(error->code, "AuthorizationHeaderMalformed");
    EXPECT_EQ(error->message, "a?b?");
    EXPECT_EQ(error->request_id, "tx1");
    EXPECT_EQ(error->region, "eu-west-1");
    EXPECT_EQ(
        parse_error("<CompleteMultipartUploadResult><Error/></CompleteMultipartUploadResult>"),
        std::nullopt);
    EXPECT_EQ(parse_error(""), std::nullopt);
}

TEST(DeleteErrors, NameTheKeysThatWereRefused) {
    const auto errors = parse_delete_errors(
        "<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>AccessDenied</Code>"
        "</Error></DeleteResult>");
    ASSERT_OK(errors);
    ASSERT_EQ(errors->size(), 1u);
    EXPECT_EQ(errors->front().key, "b");
    EXPECT_EQ(errors->front().code, "AccessDenied");
    EXPECT_TRUE(parse_delete_errors("")->empty());
    EXPECT_FALSE(static_cast<bool>(parse_delete_errors("<Error><Code>SlowDown</Code></Error>")));
}

TEST(UploadPage, TakesUploadsWithTheirTime) {
    const auto page = parse_upload_page(
        "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><Upload><Key>k</Key>"
        "<UploadId>u</UploadId><Initiator><ID>Key</ID></Initiator>"
        "<Initiated>2026-11-20T08:14:56.000Z</Initiated></Upload></ListMultipartUploadsResult>");
    ASSERT_OK(page);
    ASSERT_EQ(page->items.size(), 1u);
    EXPECT_EQ(page->items[0].key, "k");
    EXPECT_EQ(page->items[0].upload_id, "u");
    EXPECT_EQ(page->items[0].initiated, 1795162496);
}

TEST(EscapeXml, SurvivesAParse) {
    const std::string text = "a<b>&\"c'\r\n\td";
    EXPECT_EQ(find_text("<x><y>" + escape_xml(text) + "</y></x>", "y"), text);
}

}  // namespace
}  // namespace chronos::storage::s3
