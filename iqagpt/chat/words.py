"""Words of a report that rate nothing: what joins clauses, denies, or says no more than that something is.

Part of the closed vocabulary (`iqagpt.chat.lexicon`, which explains the notation). A word belongs here only if no sentence
becomes false, and nothing that was not given is said, by putting it in. So there is no word of disease, time, number or advice,
and none that turns a grade round or weakens it unread: "except", "short of", "would", "should", "may", "almost", "than".
"""

NEGATIONS = """not no without never neither nor cannot can+not can|could+no+longer no+longer rather+than less+than
    lack|lacks|lacking lack+of fail|fails+to far+from absence+of none"""
#: Between two clauses: a criterion named afterwards takes over.
BREAKS = """, ; : ( ) but and or while whereas although though however yet which that with despite so because as+a+result
    owing+to due+to because+of on+account+of by+reason+of therefore thus hence accordingly nevertheless nonetheless
    notwithstanding for in by at from on to as such+as so+that given resulting+in leading+to rendering renders render making
    makes in+spite+of along+with together+with conversely meanwhile by|in+contrast on+the+other+hand even+so that+said in+which
    for+all+that be+that+as+it+may at+the+same+time in+turn since
    even+though albeit being+that"""
VERBS = """is are was were be been remain|remains|remained appear|appears|appeared has|have|had show|shows
    exhibit|exhibits demonstrate|demonstrates presents present|presents+with does do can could meet|meets reach|reaches yield|yields
    offer|offers provide|provides benefit|benefits support|supports carry|carries prove|proves|proved become|becomes|became
    stay|stays     receive|receives|received earn|earns|earned merit|merits|merited deserve|deserves attain|attains
    achieve|achieves retain|retains|retained maintain|maintains|maintained keep|keeps|kept enjoy|enjoys
    qualify|qualifies inspire|inspires|inspired command|commands warrant|warrants justify|justifies suffer|suffers+from"""
_JOINING = """of also additionally addition in+addition furthermore moreover overall finally only even too just quite rather
    somewhat slightly mildly relatively very more further consequently altogether similarly likewise equally throughout still
    here there other remaining respectively as+well as+well+as taken+together thereby as+a+whole on+the+whole by+and+large
    in+short|brief|sum briefly in+total|general all+in+all on+balance to+sum+up to+summarize consequence consequences
    like including where when already same similar similarly otherwise namely lastly firstly secondly thirdly again
    in+this|that|every|each+regard|respect|sense as+far+as as+for when+it+comes+to for+its|their+part is|are+concerned
    merely solely purely simply alike uniformly consistently utterly downright currently presently at+present hereby herein
    indeed in+fact main mainly particular particularly especially notably generally general mostly largely primarily
    essentially about across along among around between within+the+image over upon via per during after before as+such
    it+is there+is there+are for+example for+instance example instance e+g while+still via with+it of+which this+time"""
_POINTING = """a an the this that|these|those these it its their both each all either any some several various every another
    itself themselves such being who they them we our you your whose or+other alone desired kind sort manner fashion
    one+may|can reader|one+can|may+be can+be could+be may+be+read|interpreted|used|made|diagnosed|given
    we|one|reader+would+rate|grade|call|consider|describe|read|regard be+seen being+read by+the+reader will"""
_SUBJECT = """image images imaging slice slices scan ct axial study examination exam picture section visibility visualization
    depiction delineation representation reproduction clarity presentation display appearance definition recognition
    identification preservation interpretation interpretations diagnosis diagnostic diagnostically diagnoses diagnose diagnosed
    information use purposes purpose value reading reader readers interpreter observer observers user users rater raters
    anatomic anatomical features feature certain+entities entity clinical clinically perception radiological radiologically
    radiologic radiographic radiographically visual visually subjective subjectively gross obvious few rendering rendition
    portrayal display performance look resolution+of+small+structures reporting report reports"""
_JUDGING = """assessment assess assessed assessing automated automatic automatically evaluation evaluate appraisal review
    reviewed under submitted examined scale score scored scores grade graded rating rated rate
    given one+axial single one+ct one+slice four+point describes describe described summary summarize in+summary conclusion
    in+conclusion     technique impression reproduced interpret interpreted interpreting read answer answered judged judge judges
    considered consider deemed deem found regarded+as regard noted characterized seen+as expressed stated termed called
    labeled classed classified category categories class rank ranked verdict opinion judgment estimate view views viewed
    criterion|criteria four+criteria statement statements concern
    concerns concerned refer refers result results accordance according accordingly according+to basis based account
    mention mentioned note address addressed comment comments question questions point points task tasks
    qualitatively qualitative measure parameter parameters assigned awarded given+a assign recorded reported placed put
    attached accorded ascribed attributed+to applies apply applied pertain|pertains|pertaining relate|relates|relating
    extend|extends extending+to correspond|corresponds cover|covers rests|rest afforded conferred"""
_EXTENT = """level levels degree extent standard+of amount in|with+regard|respect+to with|in+respect+of as+regards concerning
    regarding terms in+terms+of present+in is+present are+present present suitable+only+for only+suitable+for
    sufficient+only+for adequate+only+for acceptable+only+for only+sufficient+for only+for limited+to+use
    presence+of+noise presence+of+image+noise detail details available part parts aspect aspects area areas field
    number set case cases way ways state condition status character nature quantity range element elements component
    components content contents circumstance circumstances characteristic characteristics property properties
    allowing+for into+account these+limitations limitations limitation consistent"""
_DOING = """obtain obtained make makes made run runs lies lie lying make+out following follows follow give gives giving gave used
    using use draw drawn view identify+and determine establish established form formed perform performed performs performing
    work aim intended purpose indicate|indicates|indicating reflect|reflects|reflecting mean|means|meaning suggest+that
    imply|implies seem|seems|seemed allow+for cause|causes|causing|caused lead|leads|led leave|leaves|leaving left
    take|takes|taken come|comes go find|finds look|looks need|needs reach reached drawn+from derive|derived word|words term
    expressed observed achieved attained amount|amounts+to desired+level stated show shows shown+to|by belong|belongs
    stand|stands+at|as sit|sits rank|ranks+as turn|turns|turned+out come|comes+across count|counts+as fall|falls+into|under|within
    show|shows+up found+to+be inspire result|results+from|in range|ranges+as contribute|contributes"""
#: The only words on lesions that deny nothing and claim none.
_ON_LESIONS = """does+not+exclude+a|any+lesion not+exclude+a|any+lesion does+not+exclude+lesions|the+presence+of+a+lesion
    does+not+rule+out+a|any+lesion not+ruling+out+a|any+lesion does+not+mean|imply|indicate+that+no+lesion+is+present
    no|not+a+statement+on|about+the+presence+of+a+lesion no+statement+on|about+the+presence+of+a+lesion
    without+excluding+a|any+lesion a+lesion+is+not+excluded|thereby+excluded no+conclusion+about|on+the+presence+of+a+lesion
    no+statement|comment|conclusion+is|was+made|drawn|given no+statement|comment+is+made+on|about+clinical+findings
    findings+such+as"""
NEUTRAL = " ".join((_JOINING, _POINTING, _SUBJECT, _JUDGING, _EXTENT, _DOING, _ON_LESIONS))
