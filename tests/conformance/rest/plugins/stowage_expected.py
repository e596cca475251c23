"""DRF's tests that cannot pass on awaited classes, each with the reason. All others must."""

FEWER = "counts one query per row; app.rest loads a relation with one query for the whole list"
ATOMIC = "Django has no ATOMIC_REQUESTS for asynchronous views; `async with db.atomic()` is ours"
HALVES = "calls one half of the renderer without the preparation that asks for permissions"
PLAIN = "puts a plain function in place of a coroutine on the instance, past the class"
PATCHES = "patches the synchronous `authenticate` that the awaited class does not call"
NAMES = "the message names `.acreate()` or `.aupdate()`, which is what is to be written here"
SERVER = "needs the extension `unaccent`, which the embedded server does not have"
NOTICE = "DRF announces a change of DRF's own"

_BY_REASON = {
    FEWER: """
        HyperlinkedManyToManyTests::test_many_to_many_retrieve
        HyperlinkedManyToManyTests::test_relative_hyperlinks
        HyperlinkedManyToManyTests::test_reverse_many_to_many_retrieve
        HyperlinkedForeignKeyTests::test_foreign_key_retrieve
        HyperlinkedForeignKeyTests::test_reverse_foreign_key_retrieve
        PKManyToManyTests::test_many_to_many_retrieve
        PKManyToManyTests::test_reverse_many_to_many_retrieve
        PKForeignKeyTests::test_reverse_foreign_key_retrieve
        SlugForeignKeyTests::test_foreign_key_retrieve
    """,
    ATOMIC: """
        DBTransactionAPIExceptionTests::test_api_exception_rollback_transaction
        MultiDBTransactionAPIExceptionTests::test_api_exception_rollback_transaction
    """,
    HALVES: """
        BrowsableAPIRendererTests::test_delete_form_still_checks_object_permissions
        BrowsableAPIRendererTests::test_get_filter_form_returns_none_if_data_is_not_list_instance
        BrowsableAPIRendererTests::test_get_raw_data_form
        BrowsableAPIRendererTests::test_options_form_does_not_check_object_permissions_for_extra_action
    """,
    PLAIN: """
        AdminRendererTests::test_get_context_result_urls
        AdminRendererTests::test_render_when_resource_created
        InitializeViewSetsTestCase::test_args_kwargs_request_action_map_on_self
    """,
    PATCHES: """
        BasicAuthenticationUnitTests::test_basic_authentication_raises_error_if_user_not_active
        BasicAuthenticationUnitTests::test_basic_authentication_raises_error_if_user_not_found
    """,
    NAMES: """
        TestNestedWriteErrors::test_dotted_source_field_error
        TestNestedWriteErrors::test_nested_serializer_error
    """,
    SERVER: """
        SearchFilterTests::test_unaccented_search_lookups
    """,
    NOTICE: """
        TestListSerializerErrorBehavior::test_listserializer_explicit_legacy_error_format
    """,
}
EXPECTED = {name: reason for reason, names in _BY_REASON.items() for name in names.split()}
